//! The tools that the project is built and tested with: finds them, and installs those that are missing.
//!
//! A tool that is there in the right version is used as it is. One that is missing is installed where Rust keeps
//! such tools. One that is there in another version belongs to somebody: it stays, and the right one goes to
//! `target/tools`.

use crate::steps;
use anyhow::{Context as _, Result, bail, ensure};
use std::{
    env,
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The target of the page and its worker.
pub(crate) const WASM: &str = "wasm32-unknown-unknown";
/// The newest `trunk` that builds with the Rust of `rust-toolchain.toml`.
const TRUNK_VERSION: &str = "0.21.14";

/// Where the project is and what its tools are run with.
pub(crate) struct Toolbox {
    root: PathBuf,
    cargo: OsString,
    /// The folders where programs are looked for, here and by every child.
    path: Vec<PathBuf>,
    chromedriver: Option<PathBuf>,
}

impl Toolbox {
    /// Looks around; installs nothing yet.
    pub(crate) fn open() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask is in no workspace")?.to_owned();
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut path = vec![root.join("target/tools/bin")];
        path.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
        // Where `cargo install` puts programs, which is not always on PATH.
        let home = |variable: &str, below: &str| env::var_os(variable).map(|home| Path::new(&home).join(below));
        path.extend(home("CARGO_HOME", "bin").or_else(|| home("HOME", ".cargo/bin")));
        Ok(Self { root, cargo, path, chromedriver: None })
    }

    /// The folder of the workspace.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A command of the Rust package manager; the arguments stand between spaces.
    pub(crate) fn cargo(&self, args: &str) -> Command {
        let mut command = self.command(&self.cargo);
        command.args(args.split_whitespace());
        command
    }

    /// Any other program.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let program = program.as_ref();
        let mut command = Command::new(self.find(program).unwrap_or_else(|| program.into()));
        command.current_dir(&self.root);
        if let Ok(path) = env::join_paths(&self.path) {
            command.env("PATH", path);
        }
        if let Some(driver) = &self.chromedriver {
            command.env("CHROMEDRIVER", driver);
        }
        command
    }

    /// Sees that the linter, the formatter and the page's target are there.
    pub(crate) fn prepare_checks(&self) -> Result<()> {
        self.prepare_component("clippy", "clippy")?;
        self.prepare_component("fmt", "rustfmt")
    }

    /// Sees that everything that builds the page is there.
    pub(crate) fn prepare_page(&self) -> Result<()> {
        self.prepare_target()?;
        let wasm_bindgen = self.pinned_wasm_bindgen()?;
        self.prepare_tool("wasm-bindgen-cli", &["wasm-bindgen", "wasm-bindgen-test-runner"], &wasm_bindgen)?;
        self.prepare_tool("trunk", &["trunk"], TRUNK_VERSION)
    }

    /// Sees that a browser and its driver are there, and tells children where.
    pub(crate) fn with_browser(self) -> Result<Self> {
        let driver = crate::browser::prepare(&self)?;
        Ok(Self { chromedriver: Some(driver), ..self })
    }

    /// The program's place, if it has one.
    pub(crate) fn find(&self, program: impl AsRef<OsStr>) -> Option<PathBuf> {
        let program = Path::new(program.as_ref());
        if program.components().count() > 1 {
            return program.is_file().then(|| program.to_owned());
        }
        let file = program.with_extension(env::consts::EXE_EXTENSION);
        self.path.iter().map(|folder| folder.join(&file)).find(|candidate| candidate.is_file())
    }

    /// What a command prints, if it can be run and succeeds.
    pub(crate) fn output(&self, program: impl AsRef<OsStr>, args: &[&str]) -> Option<String> {
        let output = self.command(program).args(args).stderr(Stdio::null()).stdin(Stdio::null()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    fn prepare_component(&self, subcommand: &str, component: &str) -> Result<()> {
        if self.output(&self.cargo, &[subcommand, "--version"]).is_some() {
            return Ok(());
        }
        self.rustup(&["component", "add", component], &format!("`cargo {subcommand}`"))
    }

    fn prepare_target(&self) -> Result<()> {
        let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let folder = self
            .output(&rustc, &["--print", "target-libdir", "--target", WASM])
            .with_context(|| format!("{} does not answer; is Rust installed whole?", rustc.display()))?;
        if Path::new(&folder).is_dir() {
            return Ok(());
        }
        self.rustup(&["target", "add", WASM], &format!("the {WASM} target, which the page is built for,"))
    }

    fn rustup(&self, args: &[&str], missing: &str) -> Result<()> {
        ensure!(
            self.find("rustup").is_some(),
            "{missing} is not installed, and this Rust was not installed by rustup, which could add it; install Rust \
             from https://rustup.rs, or add it the way this system does"
        );
        // Without a toolchain in the environment, rustup reads rust-toolchain.toml.
        run(self.command("rustup").args(args))
    }

    /// The version that the root manifest pins, to which the command-line tool must be equal to the digit.
    fn pinned_wasm_bindgen(&self) -> Result<String> {
        let manifest = self.root.join("Cargo.toml");
        let text = fs::read_to_string(&manifest).with_context(|| format!("cannot read {}", manifest.display()))?;
        text.lines()
            .find_map(|line| line.strip_prefix("wasm-bindgen = \"=")?.strip_suffix('"'))
            .map(str::to_owned)
            .with_context(|| format!("{} does not pin wasm-bindgen as `wasm-bindgen = \"=x.y.z\"`", manifest.display()))
    }

    /// Sees that the programs of a package answer with its version.
    pub(crate) fn prepare_tool(&self, package: &str, programs: &[&str], version: &str) -> Result<()> {
        let answers = || -> Vec<Option<String>> { programs.iter().map(|program| self.version_of(program)).collect() };
        let right = |found: &Option<String>| found.as_deref() == Some(version);
        let found = answers();
        if found.iter().all(right) {
            return Ok(());
        }
        let mut install = self.cargo(&format!("install --locked --version {version} {package}"));
        if let Some(other) = found.iter().flatten().find(|found| *found != version) {
            println!("==> installing {package} {version} into target/tools; the {other} found stays where it is");
            install.arg("--root").arg(self.root.join("target/tools"));
        } else {
            println!("==> installing {package} {version}, which takes some minutes");
        }
        run(&mut install)?;
        let found = answers();
        if !found.iter().all(right) {
            bail!("{package} {version} was installed, but {} answers with {found:?}", programs.join(" and "));
        }
        Ok(())
    }

    /// The second word of what `--version` prints.
    fn version_of(&self, program: &str) -> Option<String> {
        let path = self.find(program)?;
        // What adds a command to Cargo may insist on hearing its name first, as Cargo says it.
        let as_from_cargo = || self.output(&path, &[program.strip_prefix("cargo-")?, "--version"]);
        let answer = self.output(&path, &["--version"]).or_else(as_from_cargo)?;
        answer.split_whitespace().nth(1).map(str::to_owned)
    }
}

/// Runs a command of the set-up, whose failure ends the program.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    println!("    {}", steps::shown(command));
    let status = command.status().with_context(|| format!("cannot start {}", steps::shown(command)))?;
    ensure!(status.success(), "`{}` failed ({status})", steps::shown(command));
    Ok(())
}
