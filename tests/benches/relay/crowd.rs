//! Many clients in one process.

use anyhow::{Result, ensure};
use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
};

/// Clients that connect at the same time.
pub(crate) const AT_ONCE: usize = 128;
/// Clients from one address, well below what the tracker allows an address by default.
const PER_ADDRESS: usize = 200;
/// What a process needs besides its connections.
const OTHER_DESCRIPTORS: usize = 100;

/// The address of this machine from which a client of this number comes.
pub(crate) fn source(number: usize) -> IpAddr {
    let address = (number / PER_ADDRESS) as u8;
    Ipv4Addr::new(127, 0, 1, 1 + address).into()
}

/// Tells in time that the system will not let so many connect.
pub(crate) fn check_descriptors(connections: usize) -> Result<()> {
    let needed = connections + OTHER_DESCRIPTORS;
    let limits = fs::read_to_string("/proc/self/limits")?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap_or_default();
    let allowed = line.split_whitespace().next().and_then(|soft| soft.parse().ok()).unwrap_or(usize::MAX);
    ensure!(
        allowed >= needed,
        "a process may open {allowed} files here, and {connections} connections take more: run `ulimit -n {needed}` before"
    );
    Ok(())
}
