//! Futures that wait for messages and places.

#![cfg(feature = "tokio")]

use std::time::Duration;

use shmq_engine::{Options, PopError, PushError};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn messages_pass_between_tasks() {
    let queue = Options::new(2).create_anonymous().unwrap();
    let mut producer = queue.producer().unwrap().into_async().unwrap();
    let mut consumer = queue.consumer().unwrap().into_async().unwrap();
    let putter = tokio::spawn(async move {
        for number in 0..1_000_u64 {
            producer.push(&number.to_le_bytes()).await.unwrap().unwrap();
        }
        producer
    });
    let mut buffer = Vec::new();
    for number in 0..1_000_u64 {
        let got = timeout(SOON, consumer.pop_vec(&mut buffer)).await.unwrap();
        got.unwrap().unwrap();
        assert_eq!(buffer, number.to_le_bytes());
    }
    let mut producer = putter.await.unwrap();
    queue.shut_down();
    assert_eq!(consumer.pop_vec(&mut buffer).await.unwrap(), Err(PopError::ShutDown));
    assert_eq!(producer.push(b"late").await.unwrap(), Err(PushError::ShutDown));
}

/// A future that is dropped has taken nothing, and the next one works.
#[tokio::test]
async fn a_dropped_future_takes_nothing_along() {
    let queue = Options::new(1).create_anonymous().unwrap();
    let mut producer = queue.producer().unwrap();
    let mut consumer = queue.consumer().unwrap().into_async().unwrap();
    let mut buffer = Vec::new();
    for _ in 0..20 {
        let brief = Duration::from_millis(2);
        assert!(timeout(brief, consumer.pop_vec(&mut buffer)).await.is_err());
        producer.push(b"one").unwrap();
        timeout(SOON, consumer.pop_vec(&mut buffer)).await.unwrap().unwrap().unwrap();
        assert_eq!(buffer, b"one");
    }
}

/// The runtime's only thread is not held up by who waits for another process's message.
#[tokio::test]
async fn waiting_holds_up_no_other_task() {
    let queue = Options::new(1).create_anonymous().unwrap();
    let mut consumer = queue.consumer().unwrap().into_async().unwrap();
    let waiting = tokio::spawn(async move {
        let mut buffer = Vec::new();
        consumer.pop_vec(&mut buffer).await.unwrap().unwrap();
        buffer
    });
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let other = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        queue.producer().unwrap().push(b"from elsewhere").unwrap();
    });
    assert_eq!(timeout(SOON, waiting).await.unwrap().unwrap(), b"from elsewhere");
    other.join().unwrap();
}
