//! Words as `str::split_whitespace` sees them, found 64 bytes at a time.

/// What a byte may be the first of: nothing that separates words, a separator of one byte, or perhaps a longer one.
const CLASS: [u8; 256] = classes();
const BLANK: u8 = 1;
const PERHAPS: u8 = 2;

const BLOCK: usize = 64;

const fn classes() -> [u8; 256] {
    let mut classes = [0; 256];
    let mut code = 0;
    while code < 0x1_0000 {
        if let Some(c) = char::from_u32(code)
            && c.is_whitespace()
        {
            let first = c.encode_utf8(&mut [0; 4]).as_bytes()[0];
            classes[first as usize] = if c.is_ascii() { BLANK } else { PERHAPS };
        }
        code += 1;
    }
    classes
}

/// Calls `each` with every word of the text, until it fails.
#[inline]
pub fn for_each_word<'t, E>(text: &'t str, mut each: impl FnMut(&'t [u8]) -> Result<(), E>) -> Result<(), E> {
    let bytes = text.as_bytes();
    let (mut start, mut in_word, mut spill) = (0, false, 0);
    for at in (0..bytes.len()).step_by(BLOCK) {
        let (mask, beyond) = blanks(text, at);
        let mask = mask | spill;
        spill = beyond;
        // A bit for each byte that is a blank and the one before is not, or the other way round.
        let mut edges = mask ^ (mask << 1 | u64::from(!in_word));
        while edges != 0 {
            let here = at + edges.trailing_zeros() as usize;
            edges &= edges - 1;
            if in_word {
                each(&bytes[start..here])?;
            }
            start = here;
            in_word = !in_word;
        }
    }
    if in_word { each(&bytes[start..]) } else { Ok(()) }
}

/// Which of the 64 bytes from `at` on are whitespace, the text's end included; and of those behind them, which are the
/// rest of a character that begins here.
#[inline]
fn blanks(text: &str, at: usize) -> (u64, u64) {
    let rest = &text.as_bytes()[at..];
    let mut padded = [b' '; BLOCK];
    let block = rest.first_chunk().unwrap_or_else(|| {
        padded[..rest.len()].copy_from_slice(rest);
        &padded
    });
    let (mut mask, mut special) = (0, 0);
    for (i, eight) in block.chunks_exact(8).enumerate() {
        let eight = u64::from_le_bytes(eight.try_into().expect("eight bytes"));
        mask |= gather(ascii_blanks(eight)) << (8 * i);
        special |= eight & HIGH;
    }
    if special == 0 { (mask, 0) } else { wide_blanks(text, at, block, mask) }
}

const ONES: u64 = u64::MAX / 255;
const HIGH: u64 = ONES * 0x80;

/// The high bit of each byte that is 9 to 13, or 32.
#[inline]
fn ascii_blanks(eight: u64) -> u64 {
    let low = eight & !HIGH;
    let at_least = |byte: u64| low + ONES * (0x80 - byte);
    let control = at_least(9) & !at_least(14);
    let space = at_least(32) & !at_least(33);
    (control | space) & !eight & HIGH
}

/// The high bits of eight bytes, as the low bits of one.
#[inline]
fn gather(high: u64) -> u64 {
    (high >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

/// As `blanks`, with the characters of more than one byte.
#[cold]
fn wide_blanks(text: &str, at: usize, block: &[u8; BLOCK], ascii: u64) -> (u64, u64) {
    let mut mask = u128::from(ascii);
    for (i, _) in block.iter().enumerate().filter(|(_, byte)| CLASS[**byte as usize] == PERHAPS) {
        // Such a byte is the first of a character, which may reach beyond the block.
        if let Some(c) = text[at + i..].chars().next().filter(|c| c.is_whitespace()) {
            mask |= ((1 << c.len_utf8()) - 1) << i;
        }
    }
    (mask as u64, (mask >> BLOCK) as u64)
}
