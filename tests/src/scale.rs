//! How large a measurement is.

use crate::browser::project_dir;
use std::{env, path::PathBuf};

/// How large a measurement is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// As large as its figures need it.
    Full,
    /// So small that it takes seconds. The figures mean nothing; that all of them are there shows that it works.
    Miniature,
}

impl Scale {
    /// What this program was asked for: `--miniature`, or not.
    pub fn asked() -> Self {
        if env::args().any(|argument| argument == "--miniature") { Self::Miniature } else { Self::Full }
    }

    /// The folder of the figures.
    pub fn figures_dir(self) -> PathBuf {
        project_dir().join(Scaled("target/bench", "target/bench/miniature").at(self))
    }

    /// Where Cargo puts the builds of the tracker that is measured, below its folder for all builds: in miniature it is
    /// the one that the tests have built already.
    pub const fn build_dir(self) -> &'static str {
        Scaled("release", "debug").at(self)
    }
}

/// A value at full scale, and in miniature.
#[derive(Debug, Clone, Copy)]
pub struct Scaled<T>(pub T, pub T);

impl<T: Copy> Scaled<T> {
    /// The value at this scale.
    pub const fn at(self, scale: Scale) -> T {
        match scale {
            Scale::Full => self.0,
            Scale::Miniature => self.1,
        }
    }
}
