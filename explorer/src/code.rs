//! What the next instruction of a victim is, and whether others could notice it.

use std::collections::HashMap;
use std::ops::Range;

use anyhow::{Context, Result, bail};
use iced_x86::{
    Decoder, DecoderOptions, Formatter, Instruction, InstructionInfoFactory, IntelFormatter,
    Mnemonic, OpAccess, Register, UsedMemory,
};
use nix::libc::user_regs_struct as Registers;
use nix::sys::ptrace;
use nix::unistd::Pid;

/// No instruction is longer.
const LENGTH_MAX: usize = 15;
const WORD: usize = size_of::<u64>();

/// The futex call's number, and the mask of its commands that wait: WAIT and WAIT_BITSET.
const FUTEX: u64 = 202;
const FUTEX_COMMAND: u64 = 0x7f;
const FUTEX_WAITS: [u64; 2] = [0, 9];
/// The call by which memory comes and goes.
const FALLOCATE: u64 = 285;

/// The next instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The trap at the end of an operation.
    Trap,
    /// It touches nothing shared.
    Private,
    /// It reads or writes the segment, or the kernel does so on its behalf.
    Touching,
    /// The same, and the victim may sleep in it.
    Sleeping,
}

/// Decoded instructions by address: victims are forks of one process and run the same code.
pub struct Code {
    known: HashMap<u64, Known>,
    factory: InstructionInfoFactory,
}

impl Default for Code {
    fn default() -> Self {
        Self { known: HashMap::new(), factory: InstructionInfoFactory::new() }
    }
}

impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Code").field("known", &self.known.len()).finish_non_exhaustive()
    }
}

struct Known {
    instruction: Instruction,
    memory: Vec<UsedMemory>,
}

impl Code {
    /// What `pid`, stopped with these registers, does next. `segment`: where it has that mapped.
    pub fn next(
        &mut self,
        pid: Pid,
        registers: &Registers,
        segment: &[Range<u64>],
    ) -> Result<Next> {
        let known = self.known(pid, registers.rip)?;
        Ok(known.judge(registers, segment))
    }

    /// If that is a repeated string instruction: the address behind it.
    pub fn behind_string(&mut self, pid: Pid, rip: u64) -> Result<Option<u64>> {
        let instruction = self.known(pid, rip)?.instruction;
        let repeats = instruction.is_string_instruction() && instruction.has_rep_prefix();
        Ok(repeats.then_some(instruction.next_ip()))
    }

    /// The instruction at `rip`, for people.
    pub fn text(&mut self, pid: Pid, rip: u64) -> Result<String> {
        let instruction = self.known(pid, rip)?.instruction;
        let mut text = String::new();
        IntelFormatter::new().format(&instruction, &mut text);
        Ok(text)
    }

    fn known(&mut self, pid: Pid, rip: u64) -> Result<&Known> {
        let Self { known, factory } = self;
        match known.entry(rip) {
            std::collections::hash_map::Entry::Occupied(entry) => Ok(entry.into_mut()),
            std::collections::hash_map::Entry::Vacant(entry) => {
                Ok(entry.insert(Known::decode(factory, &fetch(pid, rip)?, rip)?))
            }
        }
    }
}

/// The bytes at `rip`; fewer where the mapping ends.
fn fetch(pid: Pid, rip: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(LENGTH_MAX + 1);
    for at in [rip, rip + WORD as u64] {
        match ptrace::read(pid, at as ptrace::AddressType) {
            Ok(word) => bytes.extend(word.to_ne_bytes()),
            Err(_) if !bytes.is_empty() => {}
            Err(errno) => return Err(errno).context("reading a victim's code"),
        }
    }
    Ok(bytes)
}

impl Known {
    fn decode(factory: &mut InstructionInfoFactory, bytes: &[u8], rip: u64) -> Result<Self> {
        let instruction = Decoder::with_ip(64, bytes, rip, DecoderOptions::NONE).decode();
        if instruction.is_invalid() {
            bail!("no instruction at {rip:#x}: {bytes:02x?}");
        }
        let used = factory.info(&instruction).used_memory().iter();
        let memory = used.filter(|memory| accesses(memory.access())).copied().collect();
        Ok(Self { instruction, memory })
    }

    fn judge(&self, registers: &Registers, segment: &[Range<u64>]) -> Next {
        let is_shared = |first: u64, len: u64| {
            segment.iter().any(|range| first < range.end && first + len > range.start)
        };
        match self.instruction.mnemonic() {
            Mnemonic::Int3 => return Next::Trap,
            Mnemonic::Syscall if registers.rax == FUTEX && is_shared(registers.rdi, 4) => {
                let waits = FUTEX_WAITS.contains(&(registers.rsi & FUTEX_COMMAND));
                return if waits { Next::Sleeping } else { Next::Touching };
            }
            // Participants change the size of no other file.
            Mnemonic::Syscall if registers.rax == FALLOCATE => return Next::Touching,
            _ => {}
        }
        let touches = self.memory.iter().any(|memory| {
            let value = |register, _, _| value(registers, register);
            // Of a repeated string instruction the size is unknown: a byte at least.
            let len = memory.memory_size().size().max(1) as u64;
            memory.virtual_address(0, value).is_some_and(|first| is_shared(first, len))
        });
        if touches { Next::Touching } else { Next::Private }
    }
}

/// Not `lea`, nor a prefetch.
fn accesses(access: OpAccess) -> bool {
    !matches!(access, OpAccess::None | OpAccess::NoMemAccess)
}

/// A register that addresses may be made of.
fn value(registers: &Registers, register: Register) -> Option<u64> {
    let whole = match register.full_register() {
        Register::RAX => registers.rax,
        Register::RBX => registers.rbx,
        Register::RCX => registers.rcx,
        Register::RDX => registers.rdx,
        Register::RSI => registers.rsi,
        Register::RDI => registers.rdi,
        Register::RBP => registers.rbp,
        Register::RSP => registers.rsp,
        Register::R8 => registers.r8,
        Register::R9 => registers.r9,
        Register::R10 => registers.r10,
        Register::R11 => registers.r11,
        Register::R12 => registers.r12,
        Register::R13 => registers.r13,
        Register::R14 => registers.r14,
        Register::R15 => registers.r15,
        Register::FS => registers.fs_base,
        Register::GS => registers.gs_base,
        Register::CS | Register::DS | Register::ES | Register::SS => 0,
        _ => return None,
    };
    Some(if register.is_gpr32() { whole & 0xffff_ffff } else { whole })
}

#[cfg(test)]
mod tests {
    use super::{Known, Next, Registers};

    const SEGMENT: std::ops::Range<u64> = 0x1000..0x2000;

    fn next(bytes: &[u8], set: impl FnOnce(&mut Registers)) -> Next {
        // SAFETY: plain numbers, for which all zeros are values.
        let mut registers: Registers = unsafe { std::mem::zeroed() };
        set(&mut registers);
        let mut factory = iced_x86::InstructionInfoFactory::new();
        Known::decode(&mut factory, bytes, 0x40_0000).unwrap().judge(&registers, &[SEGMENT])
    }

    #[test]
    fn loads_stores_and_locked_instructions_touch_where_their_address_says() {
        let in_rdi = |at| move |registers: &mut Registers| registers.rdi = at;
        // mov rax, [rdi+8] · mov [rdi+8], rax · lock cmpxchg [rdi+8], rcx
        for bytes in [
            &[0x48, 0x8b, 0x47, 0x08][..],
            &[0x48, 0x89, 0x47, 0x08],
            &[0xf0, 0x48, 0x0f, 0xb1, 0x4f, 0x08],
        ] {
            assert_eq!(next(bytes, in_rdi(0xff8)), Next::Touching);
            assert_eq!(next(bytes, in_rdi(0x1ff7)), Next::Touching);
            assert_eq!(next(bytes, in_rdi(0x1ff8)), Next::Private);
            assert_eq!(next(bytes, in_rdi(0xff0)), Next::Private);
            // The last byte of the operand is in it.
            assert_eq!(next(bytes, in_rdi(0xff1)), Next::Touching);
        }
    }

    #[test]
    fn addresses_are_computed_with_index_and_scale() {
        // mov rax, [rbx + rcx*8]
        let set = |registers: &mut Registers| (registers.rbx, registers.rcx) = (0x800, 0x100);
        assert_eq!(next(&[0x48, 0x8b, 0x04, 0xcb], set), Next::Touching);
    }

    #[test]
    fn what_only_computes_or_hints_touches_nothing() {
        let set = |registers: &mut Registers| registers.rdi = 0x1000;
        // lea rax, [rdi] · prefetchw [rdi] · mov rax, rdi
        for bytes in [&[0x48, 0x8d, 0x07][..], &[0x0f, 0x0d, 0x0f], &[0x48, 0x89, 0xf8]] {
            assert_eq!(next(bytes, set), Next::Private);
        }
    }

    #[test]
    fn string_copies_touch_with_either_end() {
        let copy = [0xf3, 0xa4];
        let ends = |from, to| {
            move |registers: &mut Registers| {
                (registers.rsi, registers.rdi, registers.rcx) = (from, to, 3);
            }
        };
        assert_eq!(next(&copy, ends(0x1000, 0x5000)), Next::Touching);
        assert_eq!(next(&copy, ends(0x5000, 0x1fff)), Next::Touching);
        assert_eq!(next(&copy, ends(0x5000, 0x6000)), Next::Private);
    }

    #[test]
    fn futex_calls_touch_the_word_they_are_about() {
        let call = |rax, rdi, rsi| {
            let set = move |registers: &mut Registers| {
                (registers.rax, registers.rdi, registers.rsi) = (rax, rdi, rsi);
            };
            next(&[0x0f, 0x05], set)
        };
        assert_eq!(call(202, 0x1200, 9), Next::Sleeping);
        assert_eq!(call(202, 0x1200, 0), Next::Sleeping);
        assert_eq!(call(202, 0x1200, 1), Next::Touching);
        assert_eq!(call(202, 0x3000, 0), Next::Private);
        assert_eq!(call(24, 0x1200, 0), Next::Private);
        assert_eq!(next(&[0xcc], |_| {}), Next::Trap);
    }
}
