//! What one process sees of a queue: Python's semantics, errors, threads.

use std::error::Error;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize, Serializer};
use shmq::{
    AttachError, CreateError, DecodeError, GetError, InheritError, PartlyGot, PartlyPut, PutError,
    Queue, Wait,
};

const SHORT: Duration = Duration::from_millis(60);

fn name(what: &str) -> String {
    format!("facade-{}-{what}", std::process::id())
}

#[test]
fn values_are_got_in_the_order_they_were_put() {
    #[derive(Debug, Deserialize, PartialEq, Serialize)]
    enum Value {
        Nothing,
        Pair(i8, u64),
        Named { text: String, parts: Vec<Option<f64>> },
    }
    let values = || {
        let named = Value::Named { text: "消息".to_owned(), parts: vec![None, Some(0.5)] };
        [Value::Pair(-1, u64::MAX), Value::Nothing, named]
    };
    let queue = Queue::new(3).unwrap();
    values().into_iter().for_each(|value| queue.put(value).unwrap());
    assert_eq!(values().map(|_| queue.get().unwrap()), values());
}

#[test]
fn qsize_empty_and_full_are_exact_at_once() {
    for maxsize in [1, 3, 6] {
        let queue = Queue::new(maxsize).unwrap();
        assert_eq!(queue.maxsize(), maxsize);
        for size in 0..maxsize {
            assert_eq!((queue.qsize(), queue.empty(), queue.full()), (size, size == 0, false));
            queue.put(size).unwrap();
        }
        assert_eq!((queue.qsize(), queue.empty(), queue.full()), (maxsize, false, true));
        for value in 0..maxsize {
            assert_eq!(queue.get_nowait().unwrap(), value);
            assert_eq!(queue.qsize(), maxsize - 1 - value);
        }
        assert!(matches!(queue.get_nowait(), Err(GetError::Empty)));
    }
}

#[test]
fn values_may_take_no_bytes_at_all() {
    let queue = Queue::builder().maxsize(2).message_max(0).create().unwrap();
    queue.put(()).unwrap();
    queue.get().unwrap();
    assert!(queue.empty());
}

#[test]
fn full_hands_the_value_back() {
    // Neither Debug nor Clone.
    #[derive(Serialize)]
    struct Precious(String);
    let queue = Queue::new(1).unwrap();
    queue.put(Precious("first".to_owned())).unwrap();
    let error = queue.put_nowait(Precious("second".to_owned())).unwrap_err();
    assert!(error.is_full());
    assert_eq!(error.to_string(), "the queue is full");
    assert_eq!(format!("{error:?}"), "PutError { why: the queue is full, .. }");
    assert_eq!(error.into_inner().0, "second");
    let Err(PutError::Full(value)) = queue.put_timeout(Precious("third".to_owned()), SHORT) else {
        panic!("the queue is full");
    };
    assert_eq!(value.0, "third");
    assert_eq!(queue.qsize(), 1);
}

#[test]
fn timeouts_are_never_early_and_zero_means_now() {
    let queue = Queue::new(1).unwrap();
    for timeout in [Duration::ZERO, Duration::from_millis(1), SHORT] {
        let started = Instant::now();
        assert!(matches!(queue.get_timeout(timeout), Err(GetError::Empty)));
        assert!(started.elapsed() >= timeout);
    }
    queue.put_timeout(1, Duration::ZERO).unwrap();
    for timeout in [Duration::ZERO, Duration::from_millis(1), SHORT] {
        let started = Instant::now();
        assert!(queue.put_timeout(2, timeout).unwrap_err().is_full());
        assert!(started.elapsed() >= timeout);
    }
    assert_eq!(queue.get_timeout(Duration::ZERO).unwrap(), 1);
    queue.put_timeout(3, Duration::MAX).unwrap();
    assert_eq!(queue.get_timeout(Duration::MAX).unwrap(), 3);
}

#[test]
fn blocked_threads_go_on() {
    let queue = Queue::new(1).unwrap();
    thread::scope(|scope| {
        let getter = scope.spawn(|| queue.get().unwrap());
        thread::sleep(SHORT);
        queue.put(1).unwrap();
        assert_eq!(getter.join().unwrap(), 1);
        queue.put(2).unwrap();
        let putter = scope.spawn(|| queue.put_timeout(3, Duration::MAX).unwrap());
        thread::sleep(SHORT);
        assert_eq!(queue.get().unwrap(), 2);
        putter.join().unwrap();
        assert_eq!(queue.get().unwrap(), 3);
    });
}

#[test]
fn every_value_is_got_once_by_many_threads() {
    const THREADS: u64 = 4;
    const EACH: u64 = 20_000;
    let queue = Queue::new(7).unwrap();
    let got = thread::scope(|scope| {
        let getters: Vec<_> = (0..THREADS)
            .map(|_| {
                let queue = queue.clone();
                scope.spawn(move || {
                    let got: Vec<(u64, u64)> =
                        std::iter::from_fn(|| queue.get().unwrap()).collect();
                    for id in 0..THREADS {
                        let numbers = got.iter().filter(|of| of.0 == id).map(|of| of.1);
                        assert!(numbers.is_sorted(), "out of order");
                    }
                    got
                })
            })
            .collect();
        let putters = (0..THREADS).map(|id| {
            let queue = &queue;
            scope.spawn(move || (0..EACH).for_each(|number| queue.put(Some((id, number))).unwrap()))
        });
        let putters: Vec<_> = putters.collect();
        putters.into_iter().for_each(|putter| putter.join().unwrap());
        getters.iter().for_each(|_| queue.put(None).unwrap());
        let mut got: Vec<_> =
            getters.into_iter().flat_map(|getter| getter.join().unwrap()).collect();
        got.sort_unstable();
        got
    });
    let all = (0..THREADS).flat_map(|id| (0..EACH).map(move |number| (id, number)));
    assert!(got.into_iter().eq(all));
    assert!(queue.empty());
}

#[derive(Debug, Deserialize)]
enum Odd {
    Fine,
    Unencodable,
    Panicking,
}

impl Serialize for Odd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Fine => serializer.serialize_unit_variant("Odd", 0, "Fine"),
            Self::Unencodable => Err(serde::ser::Error::custom("not this one")),
            Self::Panicking => panic!("on purpose"),
        }
    }
}

#[test]
fn what_cannot_be_encoded_comes_back_and_uses_no_place() {
    let queue = Queue::new(1).unwrap();
    let error = queue.put(Odd::Unencodable).unwrap_err();
    assert!(error.source().is_some_and(|source| source.source().is_some()));
    let PutError::Encode { value: Odd::Unencodable, .. } = error else { panic!("{error}") };
    assert!(queue.empty());
    queue.put_nowait(Odd::Fine).unwrap();
    // Said at once, though the queue is full.
    assert!(matches!(queue.put(Odd::Unencodable), Err(PutError::Encode { .. })));
    assert!(matches!(queue.get(), Ok(Odd::Fine)));
}

#[test]
fn a_panic_while_encoding_leaves_the_handle_to_others() {
    let queue = Queue::builder().maxsize(1).participants(1).create().unwrap();
    for _ in 0..3 {
        let panicked = thread::scope(|scope| scope.spawn(|| queue.put(Odd::Panicking)).join());
        assert!(panicked.is_err());
    }
    queue.put_nowait(Odd::Fine).unwrap();
}

#[test]
fn values_fit_up_to_message_max() {
    let queue = Queue::builder().maxsize(1).message_max(8).create().unwrap();
    assert_eq!(queue.message_max(), 8);
    // A byte for the length.
    queue.put(vec![7_u8; 7]).unwrap();
    assert_eq!(queue.get().unwrap(), [7; 7]);
    let error = queue.put(vec![8; 8]).unwrap_err();
    assert!(error.to_string().contains("takes 9 bytes and message_max is 8"), "{error}");
    let PutError::TooLarge { value, len: 9, max: 8 } = error else { panic!("{error}") };
    assert_eq!(value, [8; 8]);
    assert!(queue.empty());
}

#[test]
fn what_is_no_value_is_taken_and_told() {
    let name = name("decode");
    let bytes = Queue::<(u8, u8)>::builder().maxsize(2).create_named(&name).unwrap();
    let flags = Queue::<(bool, bool)>::open(&name).unwrap();
    let short = Queue::<u8>::open(&name).unwrap();
    bytes.put((7, 7)).unwrap();
    bytes.put((1, 1)).unwrap();
    let Err(GetError::Decode { source: DecodeError::Malformed { .. } }) = flags.get() else {
        panic!("7 is no truth value");
    };
    let error = short.get().unwrap_err();
    let GetError::Decode { source: DecodeError::Trailing { extra: 1, len: 2 } } = error else {
        panic!("{error}");
    };
    assert!(bytes.empty());
}

#[test]
fn without_a_maxsize_there_is_no_bound() {
    for queue in [Queue::new(0).unwrap(), Queue::builder().create().unwrap()] {
        assert_eq!(queue.maxsize(), 0);
        let before = queue.resident_bytes();
        for n in 0..30_000 {
            queue.put_nowait(vec![n; n % 1_000]).unwrap();
        }
        assert_eq!((queue.qsize(), queue.empty(), queue.full()), (30_000, false, false));
        for n in 0..30_000 {
            assert_eq!(queue.get().unwrap(), vec![n; n % 1_000]);
        }
        assert!(queue.empty());
        assert!(queue.resident_bytes() < before + (16 << 20), "memory came back");
    }
    let error = Queue::<u8>::new(usize::MAX).unwrap_err();
    assert!(error.to_string().starts_with("maxsize is 18446744073709551615; "), "{error}");
}

#[test]
fn values_may_be_of_any_size_and_a_lack_of_memory_is_told() {
    let queue = Queue::builder().maxsize(100).max_bytes(64 << 20).create().unwrap();
    for len in [0, 1, 100, 10_000, 3_000_000] {
        queue.put(vec![7_u8; len]).unwrap();
        assert_eq!(queue.get_timeout(SHORT).unwrap(), vec![7; len]);
    }
    let error = loop {
        if let Err(error) = queue.put(vec![9_u8; 5_000_000]) {
            break error;
        }
    };
    let PutError::NoMemory { value, source } = error else { panic!("{error}") };
    assert_eq!(value.len(), 5_000_000);
    assert!(source.to_string().contains("max_bytes"), "{source}");
    let there = queue.qsize();
    assert!(there >= 10, "{there}");
    for _ in 0..there {
        assert_eq!(queue.get().unwrap(), vec![9; 5_000_000]);
    }
    queue.put(value).unwrap();
}

#[test]
fn one_participant_may_put_and_get_in_turn() {
    let queue = Queue::builder().maxsize(1).participants(1).create().unwrap();
    for value in 0..3 {
        queue.put(value).unwrap();
        assert_eq!(queue.get().unwrap(), value);
    }
}

#[test]
fn one_participant_too_many_is_told() {
    static BEGUN: Barrier = Barrier::new(2);
    static TOLD: Barrier = Barrier::new(2);
    /// Takes its time to encode.
    #[derive(Debug, Deserialize)]
    struct Slow;
    impl Serialize for Slow {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            BEGUN.wait();
            TOLD.wait();
            serializer.serialize_unit_struct("Slow")
        }
    }
    let queue = Queue::builder().maxsize(1).participants(1).create().unwrap();
    thread::scope(|scope| {
        let putter = scope.spawn(|| queue.put(Slow));
        BEGUN.wait();
        let put = queue.put(Slow);
        let got = queue.get_nowait();
        TOLD.wait();
        putter.join().unwrap().unwrap();
        let crowded = |source: &AttachError| matches!(source, AttachError::Crowded { lines: 1 });
        assert!(
            matches!(put, Err(PutError::Attach { value: Slow, ref source }) if crowded(source))
        );
        assert!(matches!(got, Err(GetError::Attach { ref source }) if crowded(source)));
    });
    queue.get_nowait().unwrap();
}

#[test]
fn a_name_is_taken_opened_and_gone_with_its_creator() {
    let name = name("named");
    assert!(matches!(Queue::<u8>::open(&name), Err(AttachError::NotFound { .. })));
    let queue = Queue::<u8>::builder().maxsize(2).create_named(&name).unwrap();
    assert!(Queue::<u8>::builder().maxsize(2).create_named(&name).is_err());
    let opened = Queue::<u8>::open(&name).unwrap();
    assert_eq!((opened.name(), opened.maxsize()), (Some(&*name), 2));
    opened.put(1).unwrap();
    assert_eq!(queue.get().unwrap(), 1);
    drop(queue.clone());
    assert!(Queue::<u8>::open(&name).is_ok());
    drop(queue);
    assert!(matches!(Queue::<u8>::open(&name), Err(AttachError::NotFound { .. })));
    opened.put(2).unwrap();
    assert!(matches!(shmq::unlink(&name), Err(AttachError::NotFound { .. })));
}

#[test]
fn queues_and_errors_go_from_thread_to_thread() {
    fn travels<E: Send + Sync + 'static>() {}
    fn is_error<E: Error + Send + Sync + 'static>() {}
    // A queue holds bytes: it travels even where its values do not.
    travels::<Queue<std::rc::Rc<u8>>>();
    is_error::<CreateError>();
    is_error::<PutError<Vec<u8>>>();
    is_error::<GetError>();
    is_error::<InheritError>();
}

#[test]
fn shutdown_lets_gets_take_what_is_left() {
    let queue = Queue::new(3).unwrap();
    queue.put_many([1, 2]).unwrap();
    assert!(!queue.is_shut_down());
    assert_eq!(queue.shutdown(false).unwrap(), 0);
    assert!(queue.is_shut_down());
    for error in [queue.put(3), queue.put_nowait(3), queue.put_timeout(3, SHORT)] {
        let PutError::ShutDown(3) = error.unwrap_err() else { panic!("it is shut down") };
    }
    let PartlyPut { put: 0, source: PutError::ShutDown(4), rest } =
        queue.put_many([4, 5]).unwrap_err()
    else {
        panic!("it is shut down")
    };
    assert_eq!(rest, [5]);
    assert_eq!((queue.get().unwrap(), queue.get_many(9).unwrap()), (1, vec![2]));
    for error in [queue.get(), queue.get_nowait(), queue.get_timeout(SHORT)] {
        assert!(matches!(error, Err(GetError::ShutDown)));
    }
    assert!(queue.get_many(1).unwrap_err().source.is_shut_down());
    assert_eq!((queue.iter().count(), queue.drain().count(), queue.clear().unwrap()), (0, 0, 0));
    assert_eq!(queue.shutdown(true).unwrap(), 0);
}

#[test]
fn an_immediate_shutdown_leaves_nothing() {
    for maxsize in [0, 10] {
        let queue = Queue::new(maxsize).unwrap();
        queue.put_many((0..10).map(|n| vec![n; 100])).unwrap();
        assert_eq!(queue.shutdown(true).unwrap(), 10);
        assert!(queue.empty());
        assert!(matches!(queue.get(), Err(GetError::ShutDown)));
    }
}

#[test]
fn shutdown_wakes_who_waits() {
    let (full, empty) = (Queue::new(1).unwrap(), Queue::<u8>::new(1).unwrap());
    full.put(0).unwrap();
    thread::scope(|scope| {
        let putters: Vec<_> = (0..2).map(|_| scope.spawn(|| full.put(1))).collect();
        let getters: Vec<_> = (0..2).map(|_| scope.spawn(|| empty.get())).collect();
        let late: Vec<_> =
            (0..2).map(|_| scope.spawn(|| empty.get_timeout(Duration::MAX))).collect();
        thread::sleep(SHORT);
        let start = Instant::now();
        full.shutdown(true).unwrap();
        empty.shutdown(false).unwrap();
        for putter in putters {
            assert!(putter.join().unwrap().unwrap_err().is_shut_down());
        }
        for getter in getters.into_iter().chain(late) {
            assert!(getter.join().unwrap().unwrap_err().is_shut_down());
        }
        assert!(start.elapsed() < Duration::from_secs(10));
    });
}

#[test]
fn close_is_this_handles_and_its_clones() {
    let name = name("close");
    let queue = Queue::<u8>::builder().maxsize(3).create_named(&name).unwrap();
    let (clone, other) = (queue.clone(), Queue::<u8>::open(&name).unwrap());
    queue.put(1).unwrap();
    queue.close();
    queue.close();
    let text = format!("Queue <shmq::Queue named {name:?}> is closed");
    for result in [queue.put(2), clone.put_nowait(2), clone.put_timeout(2, SHORT)] {
        let error = result.unwrap_err();
        assert_eq!(error.to_string(), text);
        assert!(matches!(error, PutError::Closed { value: 2, .. }));
    }
    assert!(matches!(queue.put_many([2]).unwrap_err().source, PutError::Closed { value: 2, .. }));
    for result in [queue.get(), clone.get_nowait(), clone.get_timeout(SHORT)] {
        assert_eq!(result.unwrap_err().to_string(), text);
    }
    assert!(matches!(queue.get_many(1).unwrap_err().source, GetError::Closed { .. }));
    assert!(matches!(queue.clear(), Err(GetError::Closed { .. })));
    assert!(queue.iter().map(Result::unwrap_err).count() == 1);
    assert_eq!((queue.qsize(), queue.empty(), queue.full(), queue.maxsize()), (1, false, false, 3));
    assert!(!queue.is_shut_down());
    assert_eq!(other.get().unwrap(), 1);
}

#[test]
fn a_queue_may_end_with_its_producers() {
    let queue = Queue::builder().ends_with_producers().create().unwrap();
    let other = {
        let name = name("ends");
        let one = Queue::<u8>::builder().ends_with_producers().create_named(&name).unwrap();
        let two = Queue::<u8>::open(&name).unwrap();
        one.put(1).unwrap();
        two.put(2).unwrap();
        drop(one);
        two
    };
    queue.put(1).unwrap();
    thread::scope(|scope| {
        let reader = scope.spawn(|| other.iter().map(Result::unwrap).take(2).collect::<Vec<_>>());
        assert_eq!(reader.join().unwrap(), [1, 2]);
        let ended = scope.spawn(|| other.get());
        thread::sleep(SHORT);
        // Its own place as a producer is the last.
        assert!(!other.is_shut_down());
        other.close();
        assert!(ended.join().unwrap().unwrap_err().is_shut_down());
    });
    queue.close();
    assert!(queue.is_shut_down());
    assert!(queue.get().unwrap_err().to_string().ends_with("is closed"));
}

#[test]
fn who_is_in_a_call_while_the_handle_is_closed_leaves_afterwards() {
    let queue = Queue::<u8>::builder().maxsize(1).ends_with_producers().create().unwrap();
    queue.put(1).unwrap();
    thread::scope(|scope| {
        let putter = scope.spawn(|| queue.put_timeout(2, SHORT));
        thread::sleep(SHORT / 4);
        queue.close();
        assert!(putter.join().unwrap().unwrap_err().is_full());
    });
    assert!(queue.is_shut_down());
}

#[test]
fn several_values_are_put_and_got_at_once() {
    let queue = Queue::new(0).unwrap();
    queue.put_many((0..1000).map(|n| vec![n; n % 100])).unwrap();
    assert_eq!(queue.get_many(0).unwrap(), Vec::<Vec<usize>>::new());
    let mut got = Vec::new();
    while got.len() < 1000 {
        let more = queue.get_many(300).unwrap();
        assert!((1..=300).contains(&more.len()));
        got.extend(more);
    }
    assert!(got.into_iter().eq((0..1000).map(|n| vec![n; n % 100])));
    let error = queue.put_many([vec![1], vec![2; 3]]);
    error.unwrap();
    assert_eq!(queue.clear().unwrap(), 2);
    queue.put_many([vec![1], vec![2]]).unwrap();
    assert_eq!(queue.drain().map(Result::unwrap).collect::<Vec<_>>(), [[1], [2]]);
}

#[test]
fn several_values_wait_for_places() {
    let queue = Queue::new(3).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| queue.put_many(0..1000).unwrap());
        let got: Vec<_> = (0..1000).map(|_| queue.get().unwrap()).collect();
        assert!(got.into_iter().eq(0..1000));
    });
}

#[test]
fn what_was_not_put_of_several_comes_back() {
    let queue = Queue::builder().maxsize(9).message_max(4).create().unwrap();
    let mut values = [vec![1], vec![2; 2], vec![3; 9], vec![4]].into_iter();
    let partly = queue.put_many(&mut values).unwrap_err();
    assert_eq!(partly.to_string(), "2 values were put, then one was not");
    let PartlyPut { put: 2, source: PutError::TooLarge { value, .. }, rest } = partly else {
        panic!("the third is too large")
    };
    assert_eq!((value, rest), (vec![3; 9], vec![vec![4]]));
    assert_eq!(queue.get_many(9).unwrap(), [vec![1], vec![2; 2]]);
    let odd = Queue::new(9).unwrap();
    let partly = odd.put_many([Odd::Fine, Odd::Unencodable, Odd::Fine]).unwrap_err();
    assert!(matches!(partly.source, PutError::Encode { value: Odd::Unencodable, .. }));
    assert_eq!((partly.put, partly.rest.len(), odd.qsize()), (1, 1, 1));
}

#[test]
fn of_several_messages_those_that_are_values_are_got() {
    let name = name("partly");
    let bytes = Queue::<u8>::builder().maxsize(9).create_named(&name).unwrap();
    let flags = Queue::<bool>::open(&name).unwrap();
    bytes.put_many([1, 7, 0]).unwrap();
    let partly = flags.get_many(9).unwrap_err();
    assert_eq!(partly.to_string(), "2 values were got, and one was not");
    let PartlyGot { got, source: GetError::Decode { .. } } = partly else { panic!("7 is no flag") };
    assert_eq!(got, [true, false]);
    bytes.put_many([1, 7, 0]).unwrap();
    bytes.shutdown(false).unwrap();
    assert_eq!(flags.iter().filter_map(Result::ok).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn every_way_of_waiting_waits() {
    for wait in [Wait::Spin, Wait::Adaptive, Wait::Park] {
        let queue = Queue::builder().maxsize(1).wait(wait).create().unwrap();
        thread::scope(|scope| {
            let getter = scope.spawn(|| (0..100).all(|n| queue.get().unwrap() == n));
            (0..100).for_each(|n| queue.put(n).unwrap());
            assert!(getter.join().unwrap());
        });
        assert!(matches!(queue.get_timeout(SHORT), Err(GetError::Empty)));
    }
}
