//! What the system gives and says to the process: signals, file descriptors, the log.

use std::{
    io::{self, IsTerminal as _},
    sync::Arc,
};
#[cfg(unix)]
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};
use tracing_subscriber::{EnvFilter, filter::LevelFilter};
use tracker_ws::{Certificate, Limits};

/// File descriptors that are none of a connection: the listener, the log, the runtime's own.
const OTHER_FILES: u64 = 64;
/// File descriptors of a connection that speaks HTTP, which may have a file of the page open.
const HTTP_FILES: usize = 2;

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line, for programs.
    Json,
}

/// Begins to log.
pub(crate) fn init_log(format: LogFormat) {
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into());
    let (filter, mistake) = match filter.from_env() {
        Ok(filter) => (filter, None),
        Err(mistake) => (filter.parse_lossy(""), Some(mistake)),
    };
    // A line that cannot be written is lost: to say so on the same standard error would panic.
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).log_internal_errors(false);
    match format {
        LogFormat::Text => log.with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => log.json().flatten_event(true).with_current_span(false).with_span_list(false).init(),
    }
    if let Some(error) = mistake {
        warn!(%error, "cannot understand RUST_LOG; it should be like `debug` or `tracker_ws=debug`");
    }
}

/// Lets the process open as many files as it may. If that is too few for `limits`, lowers them to what fits, and warns.
pub(crate) fn raise_file_limit(limits: &mut Limits) {
    let needed = files_needed(limits);
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(allowed) if allowed < needed => {
            fit(limits, allowed);
            warn!(
                allowed,
                needed,
                max_connections = limits.max_connections,
                http_connections = limits.http_connections,
                "too few file descriptors for all connections that the limits allow, so fewer may be open: raise them \
                 with `ulimit -n {needed}`, or `LimitNOFILE={needed}` in a systemd unit, or lower --max-connections"
            );
        }
        Ok(_) => {}
        Err(error) => warn!(%error, needed, "cannot tell how many file descriptors there may be"),
    }
}

/// Lowers `limits` to what `files` suffice for: those that are open anyhow keep theirs, and a quarter of the others is
/// for connections that speak HTTP.
fn fit(limits: &mut Limits, files: u64) {
    let files = usize::try_from(files.saturating_sub(OTHER_FILES)).unwrap_or(usize::MAX);
    // One of each, if need be: a tracker that serves nobody is none.
    limits.http_connections = limits.http_connections.min(files / 4 / HTTP_FILES).max(1);
    let left = files.saturating_sub(limits.http_connections * HTTP_FILES);
    limits.max_connections = limits.max_connections.min(left.max(1));
}

/// The file descriptors that the connections of `limits` take, and the process beside them.
fn files_needed(limits: &Limits) -> u64 {
    limits.max_connections.saturating_add(limits.http_connections.saturating_mul(HTTP_FILES)) as u64 + OTHER_FILES
}

/// Waits for Ctrl-C or SIGTERM. The handlers are installed before this returns.
#[cfg(unix)]
pub(crate) fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Waits for Ctrl-C.
#[cfg(not(unix))]
pub(crate) fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    Ok(async {
        // If Ctrl-C cannot be heard, the tracker runs until it is ended otherwise.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    })
}

/// Reads the certificate again at each SIGHUP; without a handler that signal would end the process. The handler is
/// installed before this returns.
#[cfg(unix)]
pub(crate) fn reload_at_hang_up(certificate: Option<Arc<Certificate>>) -> io::Result<()> {
    let mut hang_up = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hang_up.recv().await.is_some() {
            reload(certificate.as_deref());
        }
    });
    Ok(())
}

#[cfg(unix)]
fn reload(certificate: Option<&Certificate>) {
    match certificate.map(|certificate| (certificate, certificate.reload())) {
        Some((certificate, Ok(()))) => info!(fingerprint = certificate.fingerprint(), "read the certificate again"),
        Some((_, Err(error))) => warn!(%error, "the certificate stays as it was"),
        None => info!("there is nothing to read again"),
    }
}

/// There is no such signal here: a new certificate takes a restart.
#[cfg(not(unix))]
pub(crate) fn reload_at_hang_up(_: Option<Arc<Certificate>>) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_fit_the_files() {
        for files in [200, 1_024, 4_096, 20_000] {
            let mut limits = Limits::default();
            fit(&mut limits, files);
            assert!(files_needed(&limits) <= files, "{files}: {limits:?}");
            assert!(limits.max_connections as u64 > files / 4 && limits.http_connections > 1, "{files}: {limits:?}");
        }
        let mut limits = Limits { max_connections: 10, http_connections: 5, ..Limits::default() };
        fit(&mut limits, 1_024);
        assert_eq!((limits.max_connections, limits.http_connections), (10, 5));
        fit(&mut limits, 0);
        assert_eq!((limits.max_connections, limits.http_connections), (1, 1));
    }
}
