//! The stack as the kernel hands it over: arguments, environment and auxiliary vector.
//!
//! Layout (psABI, "Initial Process Stack"; getauxval(3)), in words from the stack pointer upwards: `argc`, `argc` pointers, 0,
//! the environment's pointers, 0, pairs of type and value up to the type `AT_NULL`. The strings lie above and never
//! move. [`Stack`] reads this and makes the three changes that a dynamic linker makes: it takes its own words off the
//! front of the arguments, drops variables that a set-user-ID program must not see, and corrects the auxiliary vector.
//!
//! # Safety
//! Only [`Stack::new`] is unsafe: its caller promises the layout above, and every method keeps it.

use core::ffi::{CStr, c_char};
use core::iter;

use linux_raw_sys::auxvec::{AT_BASE_PLATFORM, AT_EXECFN, AT_PLATFORM};

const AT_NULL: usize = 0;

/// The initial stack, owned by whoever was started on it.
pub struct Stack {
    pointer: *mut usize,
}

impl Stack {
    /// # Safety
    /// `pointer` is a multiple of 16 and begins the layout above, whose words are writable and whose strings stay valid
    /// and unchanged; nobody else writes to them while this value or a string that it gave is in use.
    pub const unsafe fn new(pointer: *mut usize) -> Self {
        Self { pointer }
    }

    /// The address of `argc`: the stack pointer that the program is to get.
    pub fn pointer(&self) -> *mut usize {
        self.pointer
    }

    fn word(&self, index: usize) -> usize {
        // SAFETY: callers stay within the layout that `new` was promised.
        unsafe { *self.pointer.add(index) }
    }

    fn set_word(&mut self, index: usize, value: usize) {
        // SAFETY: as in `word`; the words are writable and this borrow is exclusive.
        unsafe { *self.pointer.add(index) = value }
    }

    pub fn argc(&self) -> usize {
        self.word(0)
    }

    /// The arguments as C has them: `argc` pointers, then a null pointer.
    pub fn argv(&self) -> *mut *mut c_char {
        self.pointer.wrapping_add(1).cast()
    }

    /// The environment as C has it: pointers, then a null pointer.
    pub fn envp(&self) -> *mut *mut c_char {
        self.pointer.wrapping_add(self.environment_index()).cast()
    }

    /// The auxiliary vector: pairs of words.
    pub fn auxv(&self) -> *mut [usize; 2] {
        self.pointer.wrapping_add(self.auxiliary_index()).cast()
    }

    fn environment_index(&self) -> usize {
        self.argc() + 2
    }

    fn auxiliary_index(&self) -> usize {
        let first = self.environment_index();
        first + self.words_from(first).count() + 1
    }

    /// The words from `index` to the next 0.
    fn words_from(&self, index: usize) -> impl Iterator<Item = usize> {
        (index..).map(|index| self.word(index)).take_while(|&word| word != 0)
    }

    fn strings_from(&self, index: usize) -> impl Iterator<Item = &'static CStr> {
        // SAFETY: `new` was promised strings that outlive everything.
        self.words_from(index).map(|word| unsafe { CStr::from_ptr(word as *const c_char) })
    }

    /// The arguments. An execve(2) without any gives none, not even a name.
    pub fn arguments(&self) -> impl Iterator<Item = &'static CStr> {
        self.strings_from(1)
    }

    /// The variables, each `NAME=value` as a rule, but anything in fact.
    pub fn environment(&self) -> impl Iterator<Item = &'static CStr> {
        self.strings_from(self.environment_index())
    }

    /// The auxiliary vector's entries, type and value, without the last.
    pub fn auxiliary(&self) -> impl Iterator<Item = (usize, usize)> {
        let mut index = self.auxiliary_index();
        iter::from_fn(move || {
            let entry = (self.word(index), self.word(index + 1));
            index += 2;
            (entry.0 != AT_NULL).then_some(entry)
        })
    }

    /// The value of the first entry of that type, 0 if there is none, as getauxval(3) finds it.
    pub fn auxiliary_value(&self, kind: u32) -> usize {
        self.auxiliary().find(|entry| entry.0 == kind as usize).map_or(0, |entry| entry.1)
    }

    /// The string of the first entry of that type: `AT_EXECFN`, `AT_PLATFORM` or `AT_BASE_PLATFORM`.
    pub fn auxiliary_string(&self, kind: u32) -> Option<&'static CStr> {
        assert!(matches!(kind, AT_EXECFN | AT_PLATFORM | AT_BASE_PLATFORM), "entries of type {kind} are no strings");
        let pointer = self.auxiliary_value(kind) as *const c_char;
        // SAFETY: `new` was promised strings that outlive everything, and these types have one, or a null pointer.
        (!pointer.is_null()).then(|| unsafe { CStr::from_ptr(pointer) })
    }

    /// Changes the value of the first entry of that type; says whether there is one.
    pub fn set_auxiliary_value(&mut self, kind: u32, value: usize) -> bool {
        let Some(place) = self.auxiliary().position(|entry| entry.0 == kind as usize) else { return false };
        self.set_word(self.auxiliary_index() + 2 * place + 1, value);
        true
    }

    /// Replaces an argument, if there is one of that index.
    pub fn set_argument(&mut self, index: usize, argument: &'static CStr) {
        if index < self.argc() {
            self.set_word(1 + index, argument.as_ptr() as usize);
        }
    }

    /// Takes the first `count` arguments away; the stack pointer moves up.
    ///
    /// An even count moves nothing else: `argc` is written in front of the arguments that stay, at a multiple of 16
    /// again. An odd one moves everything down by one word.
    pub fn remove_arguments(&mut self, count: usize) {
        let argc = self.argc();
        let count = count.min(argc);
        if count % 2 == 1 {
            let end = self.auxiliary_index() + 2 * (self.auxiliary().count() + 1);
            for index in count + 1..end {
                let word = self.word(index);
                self.set_word(index - 1, word);
            }
        }
        self.pointer = self.pointer.wrapping_add(count & !1);
        self.set_word(0, argc - count);
    }

    /// Drops the variables for which `keep` says no; the others and the auxiliary vector close ranks.
    pub fn retain_environment(&mut self, mut keep: impl FnMut(&'static CStr) -> bool) {
        let first = self.environment_index();
        let (mut read, mut write) = (first, first);
        while self.word(read) != 0 {
            let word = self.word(read);
            // SAFETY: as in `strings_from`.
            if keep(unsafe { CStr::from_ptr(word as *const c_char) }) {
                self.set_word(write, word);
                write += 1;
            }
            read += 1;
        }
        // The auxiliary vector follows the environment's 0 directly (libc finds it so), and it moves by whole words.
        let gap = read - write;
        if gap > 0 {
            let mut index = read;
            self.set_word(write, 0);
            loop {
                let (kind, value) = (self.word(index + 1), self.word(index + 2));
                self.set_word(index + 1 - gap, kind);
                self.set_word(index + 2 - gap, value);
                if kind == AT_NULL {
                    break;
                }
                index += 2;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;

    /// A stack of words of its own, with guards behind.
    #[repr(align(16))]
    struct Words([usize; 64]);

    const GUARD: usize = 0x6a6a;

    fn stack(arguments: &[&str], environment: &[&str], auxiliary: &[(usize, usize)]) -> (Box<Words>, Stack) {
        let string = |text: &&str| CString::new(*text).unwrap().into_raw() as usize;
        let mut words = vec![arguments.len()];
        words.extend(arguments.iter().map(string));
        words.push(0);
        words.extend(environment.iter().map(string));
        words.push(0);
        words.extend(auxiliary.iter().flat_map(|&(kind, value)| [kind, value]));
        words.extend([AT_NULL, 0]);
        let mut memory = Box::new(Words([GUARD; 64]));
        memory.0[..words.len()].copy_from_slice(&words);
        // SAFETY: the layout was just made; the strings are leaked.
        let stack = unsafe { Stack::new(memory.0.as_mut_ptr()) };
        (memory, stack)
    }

    fn texts(strings: impl Iterator<Item = &'static CStr>) -> Vec<&'static str> {
        strings.map(|string| string.to_str().unwrap()).collect()
    }

    const AUXILIARY: [(usize, usize); 3] = [(9, 0x1234), (7, 0), (23, 1)];

    #[test]
    fn reads_what_the_kernel_wrote() {
        let (_memory, stack) = stack(&["ld", "true"], &["A=1", "B=2"], &AUXILIARY);
        assert_eq!(stack.argc(), 2);
        assert_eq!(texts(stack.arguments()), ["ld", "true"]);
        assert_eq!(texts(stack.environment()), ["A=1", "B=2"]);
        assert_eq!(stack.auxiliary().collect::<Vec<_>>(), AUXILIARY);
        assert_eq!((stack.auxiliary_value(9), stack.auxiliary_value(6)), (0x1234, 0));
        // SAFETY: within the layout.
        unsafe {
            assert_eq!(stack.envp().sub(1).read(), std::ptr::null_mut());
            assert_eq!(stack.auxv().read(), [9, 0x1234]);
        }
    }

    #[test]
    fn removing_arguments_keeps_alignment_and_all_else() {
        for total in 0..6 {
            for count in 0..=total + 1 {
                let names = ["a", "b", "c", "d", "e", "f"];
                let (memory, mut stack) = stack(&names[..total], &["A=1", "B=2"], &AUXILIARY);
                let base = stack.pointer();
                stack.remove_arguments(count);
                let left = &names[count.min(total)..total];
                assert_eq!(stack.pointer() as usize % 16, 0);
                assert!(stack.pointer() >= base);
                assert_eq!((stack.argc(), texts(stack.arguments())), (left.len(), left.to_vec()));
                assert_eq!(texts(stack.environment()), ["A=1", "B=2"]);
                assert_eq!(stack.auxiliary().collect::<Vec<_>>(), AUXILIARY);
                assert_eq!(memory.0[total + 1 + 1 + 3 + 8], GUARD);
            }
        }
    }

    #[test]
    fn the_environment_closes_ranks() {
        let (memory, mut stack) =
            stack(&["a"], &["LD_PRELOAD=x", "A=1", "LD_AUDIT=y", "B=2", "LD_DEBUG=z"], &AUXILIARY);
        stack.retain_environment(|variable| !variable.to_bytes().starts_with(b"LD_"));
        assert_eq!(texts(stack.environment()), ["A=1", "B=2"]);
        assert_eq!(stack.auxiliary().collect::<Vec<_>>(), AUXILIARY);
        assert_eq!(memory.0[3 + 6 + 8], GUARD);
        stack.retain_environment(|_| false);
        assert_eq!((texts(stack.environment()).len(), stack.auxiliary().count()), (0, 3));
    }

    #[test]
    fn corrects_values_in_place() {
        let (_memory, mut stack) = stack(&["ld", "x"], &[], &AUXILIARY);
        assert!(stack.set_auxiliary_value(7, 0x7000));
        assert!(!stack.set_auxiliary_value(3, 1));
        assert_eq!(stack.auxiliary().collect::<Vec<_>>(), [(9, 0x1234), (7, 0x7000), (23, 1)]);
        stack.set_argument(1, c"y");
        stack.set_argument(2, c"z");
        assert_eq!(texts(stack.arguments()), ["ld", "y"]);
    }
}
