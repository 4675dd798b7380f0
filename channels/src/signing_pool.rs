//! A few threads that do nothing but sign.
//!
//! A signature takes a quarter of a millisecond of CPU: on an event loop it would hold up every order there,
//! and on tokio's blocking pool a burst would start hundreds of threads that fight for the same cores. Here the
//! threads are few, the queue is bounded, and work whose caller has given up is skipped.
//! A full queue is an error: the call was never sent.

use std::{collections::VecDeque, num::NonZeroUsize, sync::Arc, thread};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use keys::Signer;
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use crate::counters;

/// Calls in flight are bounded far below this by the gateway; beyond it something is wrong with the machine.
const QUEUE_MAX: usize = 8_192;

/// Signs on its own threads; dropping it ends them.
pub(crate) struct SigningPool {
    shared: Arc<Shared>,
}

struct Shared {
    signer: Box<dyn Signer>,
    queue: Mutex<Queue>,
    ready: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    closed: bool,
}

struct Job {
    message: Vec<u8>,
    reply: oneshot::Sender<Result<String, String>>,
}

impl SigningPool {
    /// Starts `threads` threads named `signer`.
    pub(crate) fn start(signer: Box<dyn Signer>, threads: NonZeroUsize) -> std::io::Result<SigningPool> {
        let shared = Arc::new(Shared { signer, queue: Mutex::default(), ready: Condvar::new() });
        let pool = SigningPool { shared };
        for _ in 0..threads.get() {
            let shared = Arc::clone(&pool.shared);
            thread::Builder::new().name("signer".to_owned()).spawn(move || shared.work())?;
        }
        Ok(pool)
    }

    /// The signature over `message` as base64. Dropping the future takes the job back if it has not started.
    pub(crate) async fn sign(&self, message: Vec<u8>) -> Result<String, String> {
        let (reply, answer) = oneshot::channel();
        {
            let mut queue = self.shared.queue.lock();
            if queue.jobs.len() >= QUEUE_MAX {
                return Err("too many calls wait to be signed".to_owned());
            }
            queue.jobs.push_back(Job { message, reply });
        }
        self.shared.ready.notify_one();
        answer.await.unwrap_or_else(|_| Err("the signing thread is gone".to_owned()))
    }
}

impl Drop for SigningPool {
    fn drop(&mut self) {
        self.shared.queue.lock().closed = true;
        self.shared.ready.notify_all();
    }
}

impl Shared {
    fn work(&self) {
        while let Some(job) = self.next() {
            if job.reply.is_closed() {
                continue;
            }
            let signed =
                self.signer.sign(&job.message).map(|s| STANDARD.encode(s)).map_err(|e| e.to_string());
            counters::signed();
            // The caller may have given up meanwhile; then nobody needs the signature.
            let _ = job.reply.send(signed);
        }
    }

    fn next(&self) -> Option<Job> {
        let mut queue = self.queue.lock();
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                return Some(job);
            }
            if queue.closed {
                return None;
            }
            self.ready.wait(&mut queue);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use keys::Error;

    use super::*;

    /// Signs by echoing, and not before it is told to.
    struct Slow {
        go: Mutex<mpsc::Receiver<()>>,
        seen: mpsc::Sender<Vec<u8>>,
    }

    impl Signer for Slow {
        fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
            self.go.lock().recv().map_err(|_| Error::Crypto("wait"))?;
            self.seen.send(message.to_vec()).map_err(|_| Error::Crypto("tell"))?;
            Ok(message.to_vec())
        }
    }

    #[tokio::test]
    async fn work_of_callers_who_left_is_skipped_and_the_rest_is_signed() {
        let ((go, gone), (seen, order)) = (mpsc::channel(), mpsc::channel());
        let signer = Box::new(Slow { go: Mutex::new(gone), seen });
        let pool = SigningPool::start(signer, NonZeroUsize::MIN).unwrap();
        let mut first = Box::pin(pool.sign(b"first".to_vec()));
        let mut left = Box::pin(pool.sign(b"left".to_vec()));
        let mut last = Box::pin(pool.sign(b"last".to_vec()));
        for future in [&mut first, &mut left, &mut last] {
            assert!(futures_poll(future).await.is_none(), "queued");
        }
        drop(left);
        go.send(()).unwrap();
        go.send(()).unwrap();
        assert_eq!(first.await.unwrap(), STANDARD.encode("first"));
        assert_eq!(last.await.unwrap(), STANDARD.encode("last"));
        assert_eq!(order.try_iter().collect::<Vec<_>>(), [b"first".to_vec(), b"last".to_vec()]);
    }

    async fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        std::future::poll_fn(|context| match std::pin::Pin::new(&mut *future).poll(context) {
            std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
            std::task::Poll::Pending => std::task::Poll::Ready(None),
        })
        .await
    }
}
