//! POSIX message queues: the kernel's own queues of messages, for any number of processes.

use std::fs;
use std::io;
use std::os::fd::{AsFd, FromRawFd, IntoRawFd, OwnedFd};
use std::process;

use nix::errno::Errno;
use nix::mqueue::{
    MQ_OFlag, MqAttr, MqdT, mq_attr_member_t, mq_close, mq_open, mq_receive, mq_send, mq_unlink,
};
use nix::sys::stat::Mode;
use shmq_harness::{
    Channel, During, End, Link, Receiver, Result, Row, Sender, Transport, run_process,
};

pub(crate) const TRANSPORT: Transport = Transport {
    unavailable,
    capacity: |row| Some(places(row)),
    ..Transport::new(
        "posix-mq",
        "a POSIX message queue, of as many messages as anybody may have (10, by default); sleeps",
        open,
        run_process::<MqLink>,
    )
};

fn unavailable(row: &Row) -> Option<String> {
    match limit("msgsize_max") {
        None => Some("this kernel has no POSIX message queues".into()),
        Some(most) => (row.size > most)
            .then(|| format!("/proc/sys/fs/mqueue/msgsize_max allows {most} bytes a message")),
    }
}

/// Who is privileged may have more; most are not.
fn places(row: &Row) -> usize {
    limit("msg_max").map_or(1, |most| most.min(row.capacity))
}

fn limit(name: &str) -> Option<usize> {
    fs::read_to_string(format!("/proc/sys/fs/mqueue/{name}")).ok()?.trim().parse().ok()
}

/// Without a name as soon as it is there.
fn open(row: &Row) -> Result<Channel> {
    let name = format!("/shmq.rivals.{}", process::id());
    let number = |number| mq_attr_member_t::try_from(number).map_err(io::Error::other);
    let (places, size) = (number(places(row)), number(row.size));
    let attributes = MqAttr::new(0, places.during("mq_open")?, size.during("mq_open")?, 0);
    let flags = MQ_OFlag::O_CREAT | MQ_OFlag::O_EXCL | MQ_OFlag::O_RDWR | MQ_OFlag::O_CLOEXEC;
    let mode = Mode::S_IRUSR | Mode::S_IWUSR;
    let queue = mq_open(name.as_str(), flags, mode, Some(&attributes)).during("mq_open")?;
    mq_unlink(name.as_str()).during("mq_unlink")?;
    let fd = queue.as_fd().try_clone_to_owned().during("dup");
    mq_close(queue).during("mq_close")?;
    Channel::shared(fd?)
}

#[derive(Debug)]
struct MqLink;

impl Link for MqLink {
    type Sender = Queue;
    type Receiver = Queue;

    fn sender(end: End, _: &Row) -> io::Result<Queue> {
        end.fd().map(Queue::of)
    }

    fn receiver(end: End, _: &Row) -> io::Result<Queue> {
        end.fd().map(Queue::of)
    }
}

/// Closed with its process.
#[derive(Debug)]
struct Queue(MqdT);

impl Queue {
    fn of(fd: OwnedFd) -> Self {
        // SAFETY: the runner opened it, as a message queue, and we own it
        Self(unsafe { MqdT::from_raw_fd(fd.into_raw_fd()) })
    }
}

impl Sender for Queue {
    #[inline]
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        loop {
            match mq_send(&self.0, message, 0) {
                Err(Errno::EINTR) => {}
                done => return Ok(done?),
            }
        }
    }
}

impl Receiver for Queue {
    #[inline]
    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match mq_receive(&self.0, buffer, &mut 0) {
                Err(Errno::EINTR) => {}
                done => return Ok(done?),
            }
        }
    }
}
