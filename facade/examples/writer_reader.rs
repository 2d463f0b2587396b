//! A process that puts and a process that gets: the second program of the Python tutorial.

use std::error::Error;
use std::hash::{BuildHasher, RandomState};
use std::thread::sleep;
use std::time::Duration;

use shmq::{Process, Queue};

/// What the writing process runs.
fn write(queue: Queue<String>) -> Result<(), Box<dyn Error>> {
    for value in ["A", "B", "C"] {
        println!("Put {value} to queue...");
        queue.put(value.to_owned())?;
        sleep(random());
    }
    Ok(())
}

/// What the reading process runs.
fn read(queue: Queue<String>) -> Result<(), Box<dyn Error>> {
    // Nobody puts any more, and nobody else gets.
    while !queue.empty() {
        let value = queue.get()?;
        println!("Get {value} from queue.");
        sleep(random());
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    shmq::init(shmq::tasks![write, read]);
    // The parent creates the queue and hands it to both.
    let queue = Queue::new(0)?;
    let writer = Process::new(write, (queue.clone(),));
    let reader = Process::new(read, (queue,));
    writer.start()?;
    writer.join()?;
    reader.start()?;
    reader.join()?;
    println!();
    println!("所有数据都写入并且读完");
    Ok(())
}

/// Up to a second.
fn random() -> Duration {
    Duration::from_millis(RandomState::new().hash_one(()) % 1000)
}
