//! A queue of three, filled and emptied: the first program of the Python tutorial.

use std::error::Error;
use std::time::Duration;

use shmq::Queue;

fn main() -> Result<(), Box<dyn Error>> {
    // At most three messages.
    let queue = Queue::new(3)?;
    queue.put("消息1".to_owned())?;
    queue.put("消息2".to_owned())?;
    println!("{}", python(queue.full()));
    queue.put("消息3".to_owned())?;
    println!("{}", python(queue.full()));

    // The queue is full: the first of these waits two seconds before it fails, the other does not.
    if queue.put_timeout("消息4".to_owned(), Duration::from_secs(2)).is_err() {
        println!("消息列队已满,现有消息数量:{}", queue.qsize());
    }
    if queue.put_nowait("消息4".to_owned()).is_err() {
        println!("消息列队已满,现有消息数量:{}", queue.qsize());
    }

    // Nobody else uses this queue, so it is still full, or not empty, after we asked.
    if !queue.full() {
        queue.put_nowait("消息4".to_owned())?;
    }
    if !queue.empty() {
        for _ in 0..queue.qsize() {
            println!("{}", queue.get_nowait()?);
        }
    }
    Ok(())
}

/// A truth value, as Python prints it.
fn python(truth: bool) -> &'static str {
    if truth { "True" } else { "False" }
}
