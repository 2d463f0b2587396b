//! A process that puts and a process that gets, both started by this one.
//!
//! The program starts itself twice, with its part as an argument, and hands two queues over.

use std::env;
use std::error::Error;
use std::process::{Child, Command, ExitStatus};

use serde::{Deserialize, Serialize};
use shmq::Queue;

const ORDERS: u32 = 10;

#[derive(Serialize, Deserialize)]
struct Order {
    number: u32,
    what: String,
}

fn main() -> Result<(), Box<dyn Error>> {
    match env::args().nth(1).as_deref() {
        None => parent(),
        Some("producer") => produce(),
        Some("consumer") => consume(),
        Some(part) => Err(format!("there is no part {part:?}").into()),
    }
}

fn parent() -> Result<(), Box<dyn Error>> {
    let orders = Queue::<Option<Order>>::new(3)?;
    let counts = Queue::<u32>::new(1)?;
    let mut producer = start("producer", &orders, &counts)?;
    let mut consumer = start("consumer", &orders, &counts)?;

    let statuses = [producer.wait()?, consumer.wait()?];
    if !statuses.iter().all(ExitStatus::success) {
        return Err("a child failed".into());
    }
    let count = counts.get_nowait()?;
    assert_eq!(count, ORDERS, "everything that was put is got");
    println!("{count} orders went from one process to the other");
    Ok(())
}

fn start(
    part: &str,
    orders: &Queue<Option<Order>>,
    counts: &Queue<u32>,
) -> Result<Child, Box<dyn Error>> {
    let mut command = Command::new(env::current_exe()?);
    command.arg(part);
    orders.inherit(&mut command, "orders")?;
    counts.inherit(&mut command, "counts")?;
    Ok(command.spawn()?)
}

fn produce() -> Result<(), Box<dyn Error>> {
    let orders = Queue::<Option<Order>>::inherited("orders")?;
    for number in 1..=ORDERS {
        let what = ["tea", "coffee", "cake"][number as usize % 3].to_owned();
        // The queue holds three: this waits for the consumer.
        orders.put(Some(Order { number, what }))?;
    }
    orders.put(None)?;
    Ok(())
}

fn consume() -> Result<(), Box<dyn Error>> {
    let orders = Queue::<Option<Order>>::inherited("orders")?;
    let mut count = 0;
    while let Some(Order { number, what }) = orders.get()? {
        println!("order {number}: {what}");
        count += 1;
    }
    Queue::<u32>::inherited("counts")?.put(count)?;
    Ok(())
}
