//! Does one operation so many times, and nothing else that depends on how many: for counting its
//! instructions. `cargo xtask cost` runs it twice under callgrind, and divides the difference.

use std::env;
use std::error::Error;

use shmq_engine::{Asking, Consumer, Options, Producer, Role};

type Done = Result<(), Box<dyn Error>>;

/// More operations are not asked for.
const MOST: usize = 2048;
/// Messages of a batch.
const BATCH: usize = 32;

const USAGE: &str = "usage: cost OPERATION SIZE COUNT ASKING, with OPERATION one of put, get, put-alone, get-alone, \
     put-32, get-32, put-values, get-values, put-unbounded, get-unbounded, full, empty; SIZE in bytes (of values 8, \
     48 or 256), COUNT at most 2048, ASKING one of stores, prefetches";

fn main() -> Done {
    let args: Vec<String> = env::args().skip(1).collect();
    let [operation, size, count, asking] = &args[..] else { return Err(USAGE.into()) };
    let asking = match asking.as_str() {
        "stores" => Asking::Stores,
        "prefetches" => Asking::Prefetches,
        _ => return Err(USAGE.into()),
    };
    let (size, count): (usize, usize) = (size.parse()?, count.parse()?);
    if count > MOST {
        return Err(USAGE.into());
    }
    let unbounded = operation.ends_with("-unbounded");
    let options = if unbounded { Options::unbounded() } else { Options::new(MOST) };
    let role = if operation.ends_with("-alone") { Role::One } else { Role::Many };
    let options = options.message_max(size).inline(size).producers(role).consumers(role);
    let queue = options.create_anonymous()?;
    let (mut producer, mut consumer) = (queue.producer()?, queue.consumer()?);
    producer.ask_by(asking);
    consumer.ask_by(asking);
    let message = vec![7; size];
    let mut buffer = vec![0; size];
    // What a queue needs once, it has had: memory, and the first lap.
    put(&mut producer, &message, MOST)?;
    get(&mut consumer, &mut buffer, MOST)?;
    match operation.trim_end_matches("-alone").trim_end_matches("-unbounded") {
        "put" => put(&mut producer, &message, count),
        "get" => {
            put(&mut producer, &message, MOST)?;
            get(&mut consumer, &mut buffer, count)
        }
        "put-32" => put_batches(&mut producer, &message, count),
        "get-32" => {
            put(&mut producer, &message, MOST)?;
            get_batches(&mut consumer, count)
        }
        "put-values" => match size {
            8 => put_values::<8>(&mut producer, count),
            48 => put_values::<48>(&mut producer, count),
            256 => put_values::<256>(&mut producer, count),
            _ => Err(USAGE.into()),
        },
        "get-values" => {
            put(&mut producer, &message, MOST)?;
            match size {
                8 => get_values::<8>(&mut consumer, count),
                48 => get_values::<48>(&mut consumer, count),
                256 => get_values::<256>(&mut consumer, count),
                _ => Err(USAGE.into()),
            }
        }
        "full" => {
            put(&mut producer, &message, MOST)?;
            (0..count).for_each(|_| assert!(producer.try_push(&message).is_err()));
            Ok(())
        }
        "empty" => {
            (0..count).for_each(|_| assert!(consumer.try_pop(&mut buffer).is_err()));
            Ok(())
        }
        _ => Err(USAGE.into()),
    }
}

fn put(producer: &mut Producer, message: &[u8], count: usize) -> Done {
    for _ in 0..count {
        producer.push(message)?;
    }
    Ok(())
}

fn get(consumer: &mut Consumer, buffer: &mut [u8], count: usize) -> Done {
    for _ in 0..count {
        consumer.pop(buffer)?;
    }
    Ok(())
}

fn put_batches(producer: &mut Producer, message: &[u8], count: usize) -> Done {
    let messages = [message; BATCH];
    for _ in 0..count / BATCH {
        assert_eq!(producer.try_push_many(&messages)?, BATCH, "there is room");
    }
    Ok(())
}

fn get_batches(consumer: &mut Consumer, count: usize) -> Done {
    let mut bytes = 0;
    for _ in 0..count / BATCH {
        assert_eq!(
            consumer.pop_many(BATCH, |message| bytes += message.len())?,
            BATCH,
            "all of them"
        );
    }
    std::hint::black_box(bytes);
    Ok(())
}

/// As `put_batches`, of messages of a length that the compiler knows.
fn put_values<const SIZE: usize>(producer: &mut Producer, count: usize) -> Done {
    let values = [[7_u8; SIZE]; BATCH];
    for _ in 0..count / BATCH {
        assert_eq!(producer.try_push_values(&values)?, BATCH, "there is room");
    }
    Ok(())
}

fn get_values<const SIZE: usize>(consumer: &mut Consumer, count: usize) -> Done {
    let mut values = [[0_u8; SIZE]; BATCH];
    for _ in 0..count / BATCH {
        assert_eq!(consumer.pop_values(&mut values)?, BATCH, "all of them");
    }
    std::hint::black_box(values);
    Ok(())
}
