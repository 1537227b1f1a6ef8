//! What rdkafka asks of an asynchronous runtime, by threads.

use std::{future::Future, pin::Pin, thread, time::Duration};

use futures_lite::future::block_on;
use rdkafka::util::AsyncRuntime;

/// A thread for each task and each delay.
pub(crate) struct Threads;

impl AsyncRuntime for Threads {
    type Delay = Pin<Box<dyn Future<Output = ()> + Send>>;

    fn spawn<T: Future<Output = ()> + Send + 'static>(task: T) {
        thread::spawn(|| block_on(task));
    }

    fn delay_for(duration: Duration) -> Self::Delay {
        let (sender, receiver) = flume::bounded(1);
        thread::spawn(move || {
            thread::sleep(duration);
            let _ = sender.send(());
        });
        Box::pin(async move {
            let _ = receiver.recv_async().await;
        })
    }
}
