//! A connection's stream that gives up on a client which does not take its answer: it would hold the answer, a place
//! among the connections, and the service when it stops. A few bytes now and then are not taking it.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// How much must be taken in the time that a client is given, unless it takes all there is. So a client cannot make its
/// answer last: it may take as many times that time as the answer has so many bytes.
pub const PACE_BYTES: usize = 16 << 10;

/// A stream whose other end must keep taking what is written.
pub struct Patient<S, F> {
    stream: S,
    patience: Duration,
    /// Since when not enough was taken, as the moment when that is too long.
    end: Option<Pin<Box<Sleep>>>,
    /// How many bytes were, since then.
    taken: usize,
    hurry: Option<(Pin<Box<F>>, Duration)>,
}

impl<S, F> Patient<S, F> {
    /// Gives up after `patience` in which less than [`PACE_BYTES`] were taken; once `hurry` has resolved, after a time that is shorter.
    pub fn new(stream: S, patience: Duration, (hurry, hurried): (F, Duration)) -> Self {
        Self { stream, patience, end: None, taken: 0, hurry: Some((Box::pin(hurry), hurried)) }
    }
}

impl<S: Unpin, F: Future<Output = ()>> Patient<S, F> {
    /// What writing came to: an error in place of waiting any longer.
    fn or_too_long<T>(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(written) = write(Pin::new(&mut self.stream), cx) {
            return Poll::Ready(written);
        }
        self.hurry_if_told(cx);
        let patience = self.patience;
        let end = self.end.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(end.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(ErrorKind::TimedOut, "the client does not take its answer")))
    }

    /// Notes how much was taken, as far as anybody can tell here: the system has it.
    fn took(&mut self, bytes: usize) {
        self.taken = self.taken.saturating_add(bytes);
        if self.taken >= PACE_BYTES {
            (self.end, self.taken) = (None, 0);
        }
    }

    fn hurry_if_told(&mut self, cx: &mut Context<'_>) {
        let is_told = |(hurry, _): &mut (Pin<Box<F>>, _)| hurry.as_mut().poll(cx).is_ready();
        if let Some((_, hurried)) = self.hurry.take_if(is_told) {
            self.patience = self.patience.min(hurried);
            if let Some(end) = &mut self.end {
                let sooner = end.deadline().min(Instant::now() + self.patience);
                end.as_mut().reset(sooner);
            }
        }
    }
}

impl<S: AsyncRead + Unpin, F> AsyncRead for Patient<S, F> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin, F: Future<Output = ()>> AsyncWrite for Patient<S, F> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(self.or_too_long(cx, |stream, cx| stream.poll_write(cx, bytes)));
        Poll::Ready(written.inspect(|taken| self.took(*taken)))
    }

    /// Comes when all has been written that there was.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(self.or_too_long(cx, AsyncWrite::poll_flush));
        self.took(PACE_BYTES);
        Poll::Ready(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.or_too_long(cx, AsyncWrite::poll_shutdown)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(self.or_too_long(cx, |stream, cx| stream.poll_write_vectored(cx, slices)));
        Poll::Ready(written.inspect(|taken| self.took(*taken)))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::{interval, timeout};

    const PATIENCE: Duration = Duration::from_secs(30);
    const HURRIED: Duration = Duration::from_secs(1);

    /// After which time of taking nothing a client is given up.
    async fn given_up<F: Future<Output = ()>>(mut stream: Patient<DuplexStream, F>) -> Duration {
        let began = Instant::now();
        let error = stream.write_all(&[0; 999]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_is_given_up() {
        let (stream, _client) = duplex(8);
        let after = given_up(Patient::new(stream, PATIENCE, (pending(), HURRIED))).await;
        assert_eq!(after.as_secs(), 30);
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_enough_now_and_then_is_waited_for() {
        const TIMES: usize = 100;
        let (stream, mut client) = duplex(8);
        let mut stream = Patient::new(stream, PATIENCE, (pending(), HURRIED));
        let slow = async {
            for _ in 0..TIMES {
                tokio::time::advance(PATIENCE / 2).await;
                client.read_exact(&mut [0; PACE_BYTES]).await.unwrap();
            }
        };
        let (written, ()) = tokio::join!(stream.write_all(&[0; TIMES * PACE_BYTES]), slow);
        written.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_a_little_now_and_then_is_given_up() {
        let (stream, mut client) = duplex(8);
        let slow = tokio::spawn(async move {
            let mut ticks = interval(PATIENCE / 3);
            loop {
                ticks.tick().await;
                client.read_u8().await.unwrap();
            }
        });
        let after = given_up(Patient::new(stream, PATIENCE, (pending(), HURRIED))).await;
        assert_eq!(after.as_secs(), 30);
        slow.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_all_there_is_has_all_the_time_again() {
        let (stream, mut client) = duplex(8);
        let mut stream = Patient::new(stream, PATIENCE, (pending(), HURRIED));
        for _ in 0..3 {
            let slow = async {
                tokio::time::advance(PATIENCE * 9 / 10).await;
                client.read_exact(&mut [0; 12]).await.unwrap();
            };
            let (written, _) = tokio::join!(stream.write_all(&[0; 12]), slow);
            written.unwrap();
            stream.flush().await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn in_a_hurry_there_is_less_patience() {
        let (stream, _client) = duplex(8);
        let after = given_up(Patient::new(stream, PATIENCE, (ready(()), HURRIED))).await;
        assert_eq!(after.as_secs(), 1);

        let (stream, _client) = duplex(8);
        let hurry = async { drop(timeout(Duration::from_secs(5), pending::<()>()).await) };
        let after = given_up(Patient::new(stream, PATIENCE, (hurry, HURRIED))).await;
        assert_eq!(after.as_secs(), 6, "and whoever is waited for already is no exception");
    }
}
