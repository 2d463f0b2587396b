//! A page between the tracer and one victim: what to do, and what came of it. Not the segment.

use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use anyhow::{Context, Result};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

use crate::answer::Answer;
use crate::op::{OPS, Op};

/// The words. Of tracer and victim one is always stopped: no ordering is needed.
#[derive(Debug)]
#[repr(C)]
pub struct Slate {
    op: AtomicU64,
    message: AtomicU64,
    answer: [AtomicU64; 2],
    gates: AtomicU64,
}

impl Slate {
    /// A page that forked children share; never unmapped, for there are few.
    pub fn create() -> Result<&'static Self> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let len = rustix::param::page_size();
        // SAFETY: a new mapping at an address of the kernel's choice disturbs nothing that exists.
        let page = unsafe { mmap_anonymous(ptr::null_mut(), len, access, MapFlags::SHARED) };
        let page = page.context("mapping a page to share with victims")?;
        // SAFETY: aligned, zeroed, never unmapped; atomics allow whatever another process stores.
        Ok(unsafe { &*page.cast::<Self>() })
    }

    /// By the tracer: the next operation, and the message it puts.
    pub fn set(&self, op: Op, message: u64) {
        let at = OPS.iter().position(|&it| it == op).unwrap_or(OPS.len());
        self.op.store(at as u64, Relaxed);
        self.message.store(message, Relaxed);
        self.answer.iter().for_each(|word| word.store(0, Relaxed));
    }

    /// By the victim: what to do.
    pub fn task(&self) -> Option<(Op, u64)> {
        let op = OPS.get(self.op.load(Relaxed) as usize)?;
        Some((*op, self.message.load(Relaxed)))
    }

    /// By the victim, before the trap between two tasks.
    pub fn count_gate(&self) {
        self.gates.store(self.gates() + 1, Relaxed);
    }

    /// How often the victim was between two tasks.
    pub fn gates(&self) -> u64 {
        self.gates.load(Relaxed)
    }

    /// By the victim.
    pub fn reply(&self, answer: Answer) {
        for (word, value) in self.answer.iter().zip(answer.pack()) {
            word.store(value, Relaxed);
        }
    }

    /// By the tracer.
    pub fn answer(&self) -> Option<Answer> {
        Answer::unpack([0, 1].map(|at: usize| self.answer[at].load(Relaxed)))
    }
}
