//! iceoryx2, publish and subscribe: a ring for each pair of a producer and a consumer, messages written and
//! read in place.
//!
//! Each subscriber gets every message, so one is a queue and two are not. Publishers are not ordered among
//! each other: the end is kept until nothing else is there.

use std::error::Error as StdError;
use std::io;
use std::path::Path as StdPath;
use std::slice;

use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::port::update_connections::UpdateConnections;
use iceoryx2::prelude::{
    BackpressureStrategy, Config, FileName, LogLevel, Node, NodeBuilder, Path, PortFactory as _,
    SemanticString, ServiceName, ipc, set_log_level,
};
use iceoryx2::sample::Sample;
use iceoryx2::service::port_factory::publish_subscribe::PortFactory;
use shmq_harness::{End, Group, Link, Receiver, Row, Sender, Transport, is_end, run_process};

use crate::scratch::{Scratch, folder_and_name};
use crate::waiting::{patiently, until};

pub(crate) const TRANSPORT: Transport = Transport {
    group: Group::Rival,
    capacity: |row| Some(row.capacity),
    unavailable,
    ..Transport::new(
        "iceoryx2",
        "iceoryx2's publish-subscribe, in place; consumers look, then yield, producers as it has it",
        |_| Scratch::new().map(Scratch::into_channel),
        run_process::<IceoryxLink>,
    )
};

type Service = ipc::Service;
type Topic = PortFactory<Service, [u8], ()>;

fn unavailable(row: &Row) -> Option<String> {
    let broadcast = "every subscriber gets every message: with several it is no queue";
    (row.topology.consumers > 1).then(|| broadcast.into())
}

fn other(error: impl StdError + Send + Sync + 'static) -> io::Error {
    io::Error::other(error)
}

#[derive(Debug)]
struct IceoryxLink;

struct Putter {
    publisher: Publisher<Service, [u8], ()>,
    _node: Node<Service>,
}

struct Getter {
    subscriber: Subscriber<Service, [u8], ()>,
    end: Option<Sample<Service, [u8], ()>>,
    _node: Node<Service>,
}

/// All its files in the channel's folder, all other names with the folder's name in them.
fn config(folder: &StdPath, name: &str) -> io::Result<Config> {
    let mut config = Config::default();
    let path = folder.as_os_str().as_encoded_bytes();
    config.global.set_root_path(&Path::new(path).map_err(other)?);
    config.global.prefix = FileName::new(format!("{name}_").as_bytes()).map_err(other)?;
    Ok(config)
}

/// Waits for room, as a queue does, and has as much of it.
fn open(end: End, row: &Row) -> io::Result<(Node<Service>, Topic)> {
    set_log_level(LogLevel::Error);
    let (folder, name) = folder_and_name(end.name()?);
    let node = NodeBuilder::new().config(&config(&folder, &name)?).create().map_err(other)?;
    let workers = usize::from(row.topology.producers) + usize::from(row.topology.consumers);
    let service = node
        .service_builder(&ServiceName::new(&name).map_err(other)?)
        .publish_subscribe::<[u8]>()
        .enable_safe_overflow(false)
        .history_size(0)
        .subscriber_max_buffer_size(row.capacity)
        .max_publishers(row.topology.producers.into())
        .max_subscribers(row.topology.consumers.into())
        .max_nodes(workers)
        .open_or_create()
        .map_err(other)?;
    Ok((node, service))
}

impl Link for IceoryxLink {
    type Sender = Putter;
    type Receiver = Getter;

    fn sender(end: End, row: &Row) -> io::Result<Putter> {
        let (node, service) = open(end, row)?;
        let publisher = service
            .publisher_builder()
            .initial_max_slice_len(row.size)
            .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
            .create()
            .map_err(other)?;
        Ok(Putter { publisher, _node: node })
    }

    fn receiver(end: End, row: &Row) -> io::Result<Getter> {
        let (node, service) = open(end, row)?;
        let subscriber = service.subscriber_builder().create().map_err(other)?;
        // A publisher that nobody is connected with throws away what it has no room for.
        let publishers = service.dynamic_config();
        let all = usize::from(row.topology.producers);
        patiently(|| Ok((publishers.number_of_publishers() == all).then_some(())))?;
        subscriber.update_connections().map_err(other)?;
        Ok(Getter { subscriber, end: None, _node: node })
    }
}

impl Sender for Putter {
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let sample = self.publisher.loan_slice_uninit(message.len()).map_err(other)?;
        sample.write_from_slice(message).send().map_err(other)?;
        Ok(())
    }

    #[inline]
    fn send_with<R>(
        &mut self,
        buffer: &mut [u8],
        write: impl FnOnce(&mut [u8]) -> R,
    ) -> io::Result<R> {
        let mut sample = self.publisher.loan_slice_uninit(buffer.len()).map_err(other)?;
        let place = sample.payload_mut();
        // SAFETY: the kernel has initialised all shared memory, with zeros
        let place = unsafe { slice::from_raw_parts_mut(place.as_mut_ptr().cast(), place.len()) };
        let written = write(place);
        // SAFETY: written
        unsafe { sample.assume_init() }.send().map_err(other)?;
        Ok(written)
    }
}

impl Receiver for Getter {
    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.recv_with(&mut [], |message| buffer.copy_from_slice(message))?;
        Ok(buffer.len())
    }

    #[inline]
    fn recv_with<R>(&mut self, _buffer: &mut [u8], read: impl FnOnce(&[u8]) -> R) -> io::Result<R> {
        let Self { subscriber, end, .. } = self;
        let sample = until(|| match subscriber.receive() {
            Ok(Some(sample)) if is_end(sample.payload()) => {
                *end = Some(sample);
                None
            }
            Ok(Some(sample)) => Some(Ok(sample)),
            Ok(None) => end.take().map(Ok),
            Err(error) => Some(Err(error)),
        });
        Ok(read(sample.map_err(other)?.payload()))
    }
}
