//! Notices a client that takes no more of one HTTP/2 stream while its connection is well: it keeps the
//! stream's window shut, so no write ever waits, and nothing asks the body, which could look at a clock.

use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

tokio::task_local! {
    static HANDED: Cell<Handed>;
}

/// How far one stream's body is.
#[derive(Debug, Clone, Copy, Default)]
struct Handed {
    pieces: u64,
    /// Whether the last piece still waits for the client.
    waits: bool,
}

/// Runs what serves one stream, and gives it up when the client takes no piece of the answer for
/// `limit`: what is dropped resets the stream and closes the books of its request.
pub async fn give_up_stalled(serving: impl Future<Output = ()>, limit: Duration) {
    let watched = Watched { serving: Box::pin(serving), limit, waiting: None };
    HANDED.scope(Cell::default(), watched).await;
}

/// The body is asked for more: the client took what there was.
pub(super) fn taken() {
    note(|handed| handed.waits = false);
}

/// The body gave its next piece.
pub(super) fn handed_out() {
    note(|handed| *handed = Handed { pieces: handed.pieces + 1, waits: true });
}

fn note(change: impl FnOnce(&mut Handed)) {
    // HTTP/1.1 is not watched here: there, a client that does not read holds up the write itself
    let _ = HANDED.try_with(|handed| {
        let mut now = handed.get();
        change(&mut now);
        handed.set(now);
    });
}

struct Watched<F> {
    serving: Pin<Box<F>>,
    limit: Duration,
    /// The piece that waits, and for how long it still may.
    waiting: Option<(u64, Pin<Box<Sleep>>)>,
}

impl<F: Future<Output = ()>> Future for Watched<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.serving.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let handed = HANDED.with(Cell::get);
        if !handed.waits {
            this.waiting = None;
            return Poll::Pending;
        }
        if this.waiting.as_ref().is_none_or(|(piece, _)| *piece != handed.pieces) {
            this.waiting = Some((handed.pieces, Box::pin(sleep(this.limit))));
        }
        this.waiting.as_mut().map_or(Poll::Pending, |(_, timer)| timer.as_mut().poll(cx))
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::yield_now;

    use super::*;

    /// Whether `serving` came to its end under a client that must take each piece at once.
    fn ends(serving: impl AsyncFnOnce()) -> bool {
        let ended = Cell::new(false);
        let watched = async {
            serving().await;
            ended.set(true);
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(give_up_stalled(watched, Duration::ZERO));
        ended.get()
    }

    #[test]
    fn a_stream_whose_piece_nobody_takes_is_given_up() {
        assert!(!ends(async || {
            handed_out();
            std::future::pending().await
        }));
        assert!(!ends(async || {
            handed_out();
            taken();
            handed_out();
            std::future::pending().await
        }));
    }

    #[test]
    fn a_slow_upstream_is_waited_for() {
        assert!(ends(async || {
            for _ in 0..100 {
                handed_out();
                taken();
                yield_now().await;
            }
        }));
    }
}
