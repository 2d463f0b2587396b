//! Tasks of a pool that share a queue: the third program of the Python tutorial.

use std::error::Error;
use std::os::unix::process::parent_id;
use std::process::id;

use shmq::{Manager, ManagerQueue, Pool, cpu_count};

fn reader(queue: ManagerQueue<char>) -> Result<(), Box<dyn Error>> {
    println!("reader启动({}),父进程为({})", id(), parent_id());
    for _ in 0..queue.qsize() {
        println!("reader从Queue获取到消息:{}", queue.get()?);
    }
    Ok(())
}

fn writer(queue: ManagerQueue<char>) -> Result<(), Box<dyn Error>> {
    println!("writer启动({}),父进程为({})", id(), parent_id());
    for letter in "dongGe".chars() {
        queue.put(letter)?;
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    shmq::init(shmq::tasks![reader, writer]);
    println!("({}) start", id());
    // A plain Queue would not travel to a task of a pool.
    let queue = Manager::new().queue(0)?;
    let pool = Pool::new(cpu_count())?;
    // The reader starts when the writer is done, so it needs no loop without end.
    pool.apply(writer, (queue.clone(),))?;
    pool.apply(reader, (queue.clone(),))?;
    pool.close();
    pool.join()?;
    println!("({}) End", id());
    Ok(())
}
