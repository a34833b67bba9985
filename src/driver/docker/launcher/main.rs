//! The first program of a container whose command has secrets.
//!
//! The engine keeps a container's configuration on its disk and shows it to everybody who may ask, so no secret
//! can be in there. This program gets them on its standard input, before what the command is to read. It makes
//! the files in the container's file system in memory, adds the variables, and becomes the program that its
//! arguments name. It runs as the command's user, so the files are that user's.
//!
//! It needs nothing of the image: no shell, no C library. The [build script](../../../../build.rs) compiles it.
//!
//! ```text
//! u32  how many bytes follow; all numbers are little-endian
//! u8   1 if the rest of the input is the command's, or else it reads nothing
//! u32  how many variables
//!      u32  length, and `NAME=value` with a NUL at its end
//! u32  how many files, which are called 0, 1, 2 …
//!      u32  length, and the content
//! ```

#![no_std]
#![no_main]

use core::arch::{asm, global_asm};
use core::panic::PanicInfo;

/// The code that says that the command was not even tried.
const NOT_STARTED: usize = 125;

/// Where the container has a file system in memory. The name of a file follows.
const DIRECTORY: &[u8] = b"/ci/secrets/";

const STDIN: usize = 0;
const STDERR: usize = 2;

// As the kernel's headers have them (`fcntl.h`, `mman.h`).
const CWD: usize = -100_isize as usize;
const WRITE_NEW: usize = 0o1 | 0o100 | 0o200;
const READ_ONLY: usize = 0;
const READ_WRITE: usize = 1 | 2;
const PRIVATE: usize = 2 | 0x20;

#[cfg(target_arch = "x86_64")]
mod system {
    pub const READ: usize = 0;
    pub const WRITE: usize = 1;
    pub const CLOSE: usize = 3;
    pub const MMAP: usize = 9;
    pub const EXECVE: usize = 59;
    pub const EXIT_GROUP: usize = 231;
    pub const OPENAT: usize = 257;
    pub const DUP3: usize = 292;
}

#[cfg(target_arch = "aarch64")]
mod system {
    pub const DUP3: usize = 24;
    pub const OPENAT: usize = 56;
    pub const CLOSE: usize = 57;
    pub const READ: usize = 63;
    pub const WRITE: usize = 64;
    pub const EXIT_GROUP: usize = 94;
    pub const EXECVE: usize = 221;
    pub const MMAP: usize = 222;
}

#[cfg(target_arch = "x86_64")]
global_asm!(".globl _start", "_start:", "mov rdi, rsp", "and rsp, -16", "call start");
#[cfg(target_arch = "aarch64")]
global_asm!(".globl _start", "_start:", "mov x0, sp", "bl start");

/// A system call. A negative result is an error's number.
///
/// # Safety
///
/// As the call's manual page has it for these arguments.
#[cfg(target_arch = "x86_64")]
unsafe fn call(number: usize, arguments: [usize; 6]) -> isize {
    let [a, b, c, d, e, f] = arguments;
    let result;
    // SAFETY: the kernel's calling convention (`syscall(2)`), with the registers that it changes.
    unsafe {
        asm!(
            "syscall", inlateout("rax") number as isize => result, in("rdi") a, in("rsi") b, in("rdx") c,
            in("r10") d, in("r8") e, in("r9") f, out("rcx") _, out("r11") _, options(nostack)
        );
    }
    result
}

/// A system call. A negative result is an error's number.
///
/// # Safety
///
/// As the call's manual page has it for these arguments.
#[cfg(target_arch = "aarch64")]
unsafe fn call(number: usize, arguments: [usize; 6]) -> isize {
    let [a, b, c, d, e, f] = arguments;
    let result;
    // SAFETY: the kernel's calling convention (`syscall(2)`).
    unsafe {
        asm!(
            "svc 0", in("x8") number, inlateout("x0") a => result, in("x1") b, in("x2") c, in("x3") d,
            in("x4") e, in("x5") f, options(nostack)
        );
    }
    result
}

fn exit(code: usize) -> ! {
    loop {
        // SAFETY: it takes a number.
        unsafe { call(system::EXIT_GROUP, [code, 0, 0, 0, 0, 0]) };
    }
}

/// Ends with a message, which no secret is a part of.
fn fail(message: &[u8]) -> ! {
    write(STDERR, b"ci: cannot hand over the secrets of this task: ");
    write(STDERR, message);
    write(STDERR, b"\n");
    exit(NOT_STARTED)
}

#[panic_handler]
fn panicked(_: &PanicInfo<'_>) -> ! {
    fail(b"what came is not what was expected")
}

/// The core library is compiled for programs that unwind, and refers to this. Here nothing unwinds.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// Whether all of it was written.
fn write(file: usize, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        // SAFETY: the pointer and the length are those of a slice.
        let written =
            unsafe { call(system::WRITE, [file, bytes.as_ptr() as usize, bytes.len(), 0, 0, 0]) };
        match usize::try_from(written).ok().filter(|written| *written > 0) {
            Some(written) => bytes = &bytes[written..],
            None => return false,
        }
    }
    true
}

/// Fills the buffer from the standard input.
fn read(buffer: &mut [u8]) {
    let mut filled = 0;
    while filled < buffer.len() {
        let rest = &mut buffer[filled..];
        // SAFETY: the pointer and the length are those of a slice that nobody else has.
        let read = unsafe {
            call(system::READ, [STDIN, rest.as_mut_ptr() as usize, rest.len(), 0, 0, 0])
        };
        match usize::try_from(read).ok().filter(|read| *read > 0) {
            Some(read) => filled += read,
            None => fail(b"they did not all come"),
        }
    }
}

/// Memory for so many bytes, until the end.
fn memory(bytes: usize) -> *mut u8 {
    let arguments = [0, bytes.max(1), READ_WRITE, PRIVATE, usize::MAX, 0];
    // SAFETY: it makes a new mapping wherever there is room.
    let found = unsafe { call(system::MMAP, arguments) };
    if found < 0 {
        fail(b"there is not enough memory");
    }
    found as *mut u8
}

/// What came on the standard input, and has not been read yet.
struct Input(&'static [u8]);

impl Input {
    fn take(&mut self, bytes: usize) -> &'static [u8] {
        let (taken, rest) = self.0.split_at(bytes);
        self.0 = rest;
        taken
    }

    fn number(&mut self) -> usize {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(self.take(4));
        u32::from_le_bytes(bytes) as usize
    }

    fn part(&mut self) -> &'static [u8] {
        let length = self.number();
        self.take(length)
    }
}

/// Makes a file for the command's user alone.
fn make_file(number: usize, content: &[u8]) {
    let mut path = [0; DIRECTORY.len() + 8];
    path[..DIRECTORY.len()].copy_from_slice(DIRECTORY);
    // In decimal, with a NUL after it.
    let digits = number.checked_ilog10().map_or(1, |digits| digits as usize + 1);
    let mut rest = number;
    for at in (0..digits).rev() {
        path[DIRECTORY.len() + at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    // SAFETY: the path ends with a NUL.
    let file =
        unsafe { call(system::OPENAT, [CWD, path.as_ptr() as usize, WRITE_NEW, 0o400, 0, 0]) };
    let Ok(file) = usize::try_from(file) else { fail(b"a file cannot be made") };
    if !write(file, content) {
        fail(b"a file cannot be written");
    }
    // SAFETY: nobody else uses the descriptor.
    unsafe { call(system::CLOSE, [file, 0, 0, 0, 0, 0]) };
}

/// Puts nothing in the place of the standard input.
fn close_input() {
    let path = b"/dev/null\0";
    // SAFETY: the path ends with a NUL.
    let null =
        unsafe { call(system::OPENAT, [CWD, path.as_ptr() as usize, READ_ONLY, 0, 0, 0]) };
    let Ok(null) = usize::try_from(null) else { fail(b"there is no /dev/null") };
    // SAFETY: both are descriptors, and nobody reads the input any more.
    if unsafe { call(system::DUP3, [null, STDIN, 0, 0, 0, 0]) } < 0 {
        fail(b"the input cannot be closed");
    }
    // SAFETY: nobody else uses the descriptor.
    unsafe { call(system::CLOSE, [null, 0, 0, 0, 0, 0]) };
}

/// The bytes of a text up to `end`.
///
/// # Safety
///
/// The text has to end with a NUL, and to live on.
unsafe fn until(text: *const u8, end: u8) -> &'static [u8] {
    let mut length = 0;
    // SAFETY: the NUL is not behind any of these.
    while !unsafe { [0, end].contains(&*text.add(length)) } {
        length += 1;
    }
    // SAFETY: as above.
    unsafe { core::slice::from_raw_parts(text, length) }
}

/// # Safety
///
/// `stack` is where the kernel has put the arguments and the variables of this process: how many arguments,
/// pointers to them and a null pointer, pointers to the variables and a null pointer.
#[unsafe(no_mangle)]
unsafe extern "C" fn start(stack: *const usize) -> ! {
    // SAFETY: what `stack` points to is as above.
    let (arguments, variables) = unsafe {
        let arguments = stack.add(1) as *const *const u8;
        (arguments, arguments.add(*stack + 1))
    };
    let mut length = [0; 4];
    read(&mut length);
    let length = u32::from_le_bytes(length) as usize;
    // SAFETY: the memory is as long, and nothing else refers to it.
    let block = unsafe { core::slice::from_raw_parts_mut(memory(length), length) };
    read(block);
    let mut input = Input(block);
    let keeps_input = input.take(1) == [1];

    let count = input.number();
    let mut old = 0;
    // SAFETY: a null pointer ends the list.
    while !unsafe { *variables.add(old) }.is_null() {
        old += 1;
    }
    let size = core::mem::size_of::<*const u8>() * (count + old + 1);
    let all = memory(size) as *mut *const u8;
    let mut used = 0;
    for _ in 0..count {
        let variable = input.part();
        if variable.last() != Some(&0) {
            fail(b"a variable has no end");
        }
        // SAFETY: there is room for `count` of these.
        unsafe { *all.add(used) = variable.as_ptr() };
        used += 1;
    }
    let new = used;
    for index in 0..old {
        // SAFETY: the lists are as long, and their texts end with a NUL.
        unsafe {
            let variable = *variables.add(index);
            let name = until(variable, b'=');
            let is_new = (0..new).any(|index| until(*all.add(index), b'=') == name);
            if !is_new {
                *all.add(used) = variable;
                used += 1;
            }
        }
    }
    // The memory is zero, so a null pointer ends the list.
    for number in 0..input.number() {
        make_file(number, input.part());
    }
    if !keeps_input {
        close_input();
    }
    // SAFETY: the arguments after this program's own name are a list that ends with a null pointer, and so
    // are the variables; all of these texts end with a NUL.
    unsafe {
        let program = *arguments.add(1);
        let next = arguments.add(1) as usize;
        call(system::EXECVE, [program as usize, next, all as usize, 0, 0, 0]);
    }
    fail(b"the container's init process cannot be executed")
}

/// The compiler calls these for slices. They are written so that it does not make calls of themselves of them.
///
/// # Safety
///
/// As `memset(3)`.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(target: *mut u8, byte: i32, length: usize) -> *mut u8 {
    for at in 0..length {
        // SAFETY: the caller's.
        unsafe { target.add(at).write_volatile(byte as u8) };
    }
    target
}

/// # Safety
///
/// As `memcpy(3)`.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(target: *mut u8, source: *const u8, length: usize) -> *mut u8 {
    for at in 0..length {
        // SAFETY: the caller's.
        unsafe { target.add(at).write_volatile(*source.add(at)) };
    }
    target
}

/// # Safety
///
/// As `bcmp(3)`.
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, length: usize) -> i32 {
    for at in 0..length {
        // SAFETY: the caller's.
        if unsafe { a.add(at).read_volatile() != b.add(at).read_volatile() } {
            return 1;
        }
    }
    0
}

/// # Safety
///
/// As `memcmp(3)`, of which nothing here needs the order.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, length: usize) -> i32 {
    // SAFETY: the caller's.
    unsafe { bcmp(a, b, length) }
}
