//! How long an answer's head is waited for.

use std::future::pending;
use std::pin::pin;
use std::time::Duration;

use tokio::time::timeout;

use super::body::Progress;

/// The limit on waiting, and word of what is still going out.
pub(super) struct Wait {
    /// Counts from the last piece of the request's body that went.
    pub(super) limit: Duration,
    pub(super) progress: Option<Progress>,
}

/// What `answer` comes to; `None` if nothing moved for as long as the limit.
pub(super) async fn head_of<T>(answer: impl Future<Output = T>, wait: &mut Wait) -> Option<T> {
    let mut answer = pin!(answer);
    loop {
        let moved = async {
            match &mut wait.progress {
                Some(progress) => progress.changed().await.is_ok(),
                None => pending().await,
            }
        };
        let next = async {
            tokio::select! {
                biased;
                answered = &mut answer => Next::Answered(answered),
                is_under_way = moved => Next::Moved { is_under_way },
            }
        };
        match timeout(wait.limit, next).await.ok()? {
            Next::Answered(answered) => return Some(answered),
            Next::Moved { is_under_way: true } => {}
            Next::Moved { is_under_way: false } => wait.progress = None,
        }
    }
}

/// What a request under way comes to next.
enum Next<T> {
    Answered(T),
    /// A piece of its body was taken, or the last.
    Moved {
        is_under_way: bool,
    },
}
