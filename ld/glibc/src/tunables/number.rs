//! Numbers as the loader reads them: *glibc elf/dl-misc.c, `_dl_strtoul`*.

/// The number that the whole text is. As in glibc, nothing at all is 0, and so are a lone sign and a lone `0x`.
pub fn parse(text: &[u8]) -> Option<u64> {
    let (number, rest) = prefix(text);
    rest.is_empty().then_some(number)
}

/// The number that the text begins with, and what follows it: blanks, a sign, `0x` or `0` for the bases 16 and 8. One
/// that is too large is the largest, and ends at the digit that made it so.
pub fn prefix(text: &[u8]) -> (u64, &[u8]) {
    let blanks = text.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let (negative, mut rest) = match &text[blanks..] {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let base = match rest {
        [b'0', b'x' | b'X', digits @ ..] => {
            rest = digits;
            16
        }
        [b'0', ..] => 8,
        _ => 10,
    };
    let mut number = 0u64;
    while let [first, after @ ..] = rest {
        let Some(digit) = char::from(*first).to_digit(base) else { break };
        match number.checked_mul(base.into()).and_then(|number| number.checked_add(digit.into())) {
            Some(larger) => number = larger,
            None => return (u64::MAX, rest),
        }
        rest = after;
    }
    (if negative { number.wrapping_neg() } else { number }, rest)
}
