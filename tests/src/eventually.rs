//! Waiting for what will happen, without guessing when.

use anyhow::{Result, bail};
use std::{cell::RefCell, time::Duration};

/// How often a condition is looked at. Short, so that what passes quickly is seen; each look costs the machine that
/// is being watched some work, so not shorter.
const POLL: Duration = Duration::from_millis(20);

/// Asks `probe` until it has an answer, and fails with what it said last when `limit` is over.
///
/// `probe` returns `Ok(Err(state))` as long as the condition does not hold.
///
/// # Errors
/// If the time is over, or if `probe` itself fails.
pub async fn eventually<T, S: std::fmt::Debug>(
    what: &str,
    limit: Duration,
    mut probe: impl AsyncFnMut() -> Result<Result<T, S>>,
) -> Result<T> {
    let last = RefCell::new(None);
    let waiting = async {
        loop {
            match probe().await? {
                Ok(answer) => return Ok(answer),
                Err(state) => *last.borrow_mut() = Some(state),
            }
            // The one pause of all tests: a pause between two looks, never in place of a condition.
            tokio::time::sleep(POLL).await;
        }
    };
    if let Ok(outcome) = tokio::time::timeout(limit, waiting).await {
        return outcome;
    }
    bail!("waited {limit:?} in vain for {what}; at last: {:#?}", last.take())
}
