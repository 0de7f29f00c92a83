//! How long an upstream may say nothing in the middle of its answer.

use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// The silence of an upstream, as far as it has lasted.
#[derive(Debug)]
pub(super) struct Silence {
    limit: Duration,
    /// `None` while it speaks.
    since: Option<Instant>,
    /// Set at the first silence and moved when it rings, not at each word: a stream has many short silences,
    /// and moving a timer costs more than looking at the time.
    timer: Option<Timer>,
}

#[derive(Debug)]
struct Timer {
    sleep: Pin<Box<Sleep>>,
    /// Whom it wakes.
    wakes: Waker,
}

impl Silence {
    pub(super) const fn up_to(limit: Duration) -> Self {
        Self { limit, since: None, timer: None }
    }

    /// The upstream said something.
    pub(super) const fn is_broken(&mut self) {
        self.since = None;
    }

    /// Ready when it has lasted too long.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let until = *self.since.get_or_insert_with(Instant::now) + self.limit;
        let new = || Timer { sleep: Box::pin(sleep_until(until)), wakes: Waker::noop().clone() };
        let timer = self.timer.get_or_insert_with(new);
        if !timer.sleep.is_elapsed() && timer.wakes.will_wake(cx.waker()) {
            return Poll::Pending;
        }
        timer.wakes.clone_from(cx.waker());
        loop {
            ready!(timer.sleep.as_mut().poll(cx));
            if timer.sleep.deadline() >= until {
                return Poll::Ready(());
            }
            timer.sleep.as_mut().reset(until);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::sleep;

    use super::*;

    #[tokio::test]
    async fn a_word_in_the_middle_of_a_silence_begins_it_anew() {
        let limit = Duration::from_millis(40);
        let mut silence = Silence::up_to(limit);
        let first = poll_fn(|cx| Poll::Ready(silence.poll(cx))).await;
        assert!(first.is_pending());
        sleep(limit / 2).await;
        silence.is_broken();
        let began = Instant::now();
        poll_fn(|cx| silence.poll(cx)).await;
        assert!(began.elapsed() >= limit);
    }
}
