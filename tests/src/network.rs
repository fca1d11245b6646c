//! Machines with lines of their own: network namespaces on a bridge, whose lines the kernel slows down. On Linux, for who may
//! make them.

use anyhow::{Context as _, Result, ensure};
#[cfg(target_os = "linux")]
use rustix::thread::LinkNameSpaceType;
#[cfg(target_os = "linux")]
use std::os::fd::AsFd as _;
use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process::{self, Command},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

/// Hosts on a bridge. They are gone when this is dropped.
#[derive(Debug)]
pub struct Network {
    name: String,
    subnet: u8,
    hosts: usize,
}

/// What the line of a host carries, in Mbit/s, headers included.
#[derive(Debug, Clone, Copy)]
pub struct Rates {
    /// What it sends.
    pub up: u32,
    /// What it receives.
    pub down: u32,
}

impl Network {
    /// So many hosts with such lines; `None` if that may not be done here.
    ///
    /// # Errors
    /// If some of it can be done, and the rest cannot.
    pub fn new(hosts: usize, rates: Rates) -> Result<Option<Self>> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        // A name of an interface has at most 15 characters.
        let (id, made) = (process::id(), MADE.fetch_add(1, Relaxed) % 10);
        let network = Self { name: format!("mb{id}{made}"), subnet: ((id * 10 + made) % 250) as u8, hosts };
        if run(&format!("ip link add {} type bridge", network.name)).is_err() {
            return Ok(None);
        }
        run(&format!("ip address add {}/24 dev {}", network.bridge(), network.name))?;
        run(&format!("ip link set {} up", network.name))?;
        for host in 0..hosts {
            let (name, line) = (network.host(host), network.line(host));
            if run(&format!("ip netns add {name}")).is_err() {
                return Ok(None);
            }
            run(&format!("ip link add {line} type veth peer name line netns {name}"))?;
            run(&format!("ip link set {line} master {} up", network.name))?;
            run(&format!("ip -n {name} address add {}/24 dev line", network.address(host)))?;
            run(&format!("ip -n {name} link set lo up"))?;
            run(&format!("ip -n {name} link set line up"))?;
            // Browsers have no addresses without a way to everywhere.
            run(&format!("ip -n {name} route add default via {}", network.bridge()))?;
            // What a line carries in 12 ms it may carry at once. The kernel, which looks 250 times a second, needs a third of that;
            // with less than 64 KiB it would also have to take apart what programs send, which costs more than the programs.
            let burst_kb = |rate: u32| (rate * 3 / 2).max(16);
            let shape = |rate| format!("root tbf rate {rate}mbit burst {}kb latency 200ms", burst_kb(rate));
            run(&format!("tc -n {name} qdisc add dev line {}", shape(rates.up)))?;
            run(&format!("tc qdisc add dev {line} {}", shape(rates.down)))?;
        }
        Ok(Some(network))
    }

    /// The address of this machine in the network.
    pub const fn bridge(&self) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(10, 77, self.subnet, 1))
    }

    /// The address of a host.
    pub const fn address(&self, host: usize) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(10, 77, self.subnet, host as u8 + 2))
    }

    /// The same with a port.
    pub const fn at(&self, host: usize, port: u16) -> SocketAddr {
        SocketAddr::new(self.address(host), port)
    }

    /// The namespace of a host.
    pub fn host(&self, number: usize) -> String {
        format!("{}h{number}", self.name)
    }

    /// A command that runs a program on a host.
    pub fn command(&self, host: usize, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.host(host), program]);
        command
    }

    /// Moves the calling thread to a host, for good: what it opens from then on is there.
    ///
    /// # Errors
    /// If the kernel cannot.
    #[cfg(target_os = "linux")]
    pub fn enter(name: &str) -> Result<()> {
        let path = format!("/run/netns/{name}");
        let namespace = fs::File::open(&path).with_context(|| format!("cannot open {path}"))?;
        rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        Ok(())
    }

    /// Puts a machine behind a host, which is its router and lends it its own address (NAT, by masquerading); gives its
    /// namespace. `None` if `nft` is not there.
    ///
    /// # Errors
    /// If the kernel cannot.
    pub fn behind(&self, host: usize) -> Result<Option<String>> {
        if Command::new("nft").arg("--version").output().is_err() {
            return Ok(None);
        }
        let router = self.host(host);
        let name = format!("{router}n");
        run(&format!("ip netns add {name}"))?;
        run(&format!("ip link add inner netns {name} type veth peer name outer netns {router}"))?;
        run(&format!("ip -n {router} address add 192.168.77.1/24 dev outer"))?;
        run(&format!("ip -n {router} link set outer up"))?;
        run(&format!("ip -n {name} address add 192.168.77.2/24 dev inner"))?;
        run(&format!("ip -n {name} link set lo up"))?;
        run(&format!("ip -n {name} link set inner up"))?;
        run(&format!("ip -n {name} route add default via 192.168.77.1"))?;
        let on_router = |command: &str| run(&format!("ip netns exec {router} {command}"));
        on_router("sysctl -q -w net.ipv4.ip_forward=1")?;
        on_router("nft add table ip nat")?;
        on_router("nft add chain ip nat out { type nat hook postrouting priority 100 ; }")?;
        on_router("nft add rule ip nat out oifname line masquerade")?;
        Ok(Some(name))
    }

    /// Keeps these hosts from reaching each other, though they reach all others.
    ///
    /// # Errors
    /// If the kernel cannot.
    pub fn separate(&self, hosts: impl IntoIterator<Item = usize>) -> Result<()> {
        hosts.into_iter().try_for_each(|host| {
            run(&format!("bridge link set dev {} isolated on", self.line(host)))?;
            Ok(())
        })
    }

    /// The bytes that a host received and sent so far.
    ///
    /// # Errors
    /// If it is gone.
    pub fn bytes(&self, host: usize) -> Result<u64> {
        let count = |which: &str| -> Result<u64> {
            let path = format!("/sys/class/net/{}/statistics/{which}_bytes", self.line(host));
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
            Ok(text.trim().parse()?)
        };
        Ok(count("rx")? + count("tx")?)
    }

    fn line(&self, number: usize) -> String {
        format!("{}l{number}", self.name)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // What was not made cannot be removed.
        let hosts = (0..self.hosts).map(|host| self.host(host));
        for host in hosts.flat_map(|host| [format!("{host}n"), host]) {
            // Some programs start others, which outlive them when a test fails.
            if let Ok(processes) = run(&format!("ip netns pids {host}"))
                && !processes.trim().is_empty()
            {
                let _ = run(&format!("kill -9 {}", processes.split_whitespace().collect::<Vec<_>>().join(" ")));
            }
            let _ = run(&format!("ip netns delete {host}"));
        }
        let _ = run(&format!("ip link delete {}", self.name));
    }
}

/// Runs a command; gives what it printed.
fn run(command: &str) -> Result<String> {
    let mut words = command.split(' ');
    let program = words.next().context("a command has a name")?;
    let output = Command::new(program).args(words).output().with_context(|| command.to_owned())?;
    ensure!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
