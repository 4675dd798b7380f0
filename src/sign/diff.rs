//! Where two strings begin to differ, byte by byte.

use std::fmt::Write as _;

/// How much is shown before and after.
const CONTEXT: usize = 24;

/// A byte string with everything invisible spelt out.
pub(crate) fn visible(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                '\t' => text.push_str("\\t"),
                '\u{feff}' => text.push_str("\\u{feff}"),
                c if c.is_control() => text.extend(c.escape_default()),
                c => text.push(c),
            }
        }
        for byte in chunk.invalid() {
            let _infallible = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// The first difference of `ours` from `theirs`, with its surroundings; `None` if they are the same. `cut_off` says
/// that `theirs` may end early.
pub(crate) fn difference(ours: &[u8], theirs: &[u8], cut_off: bool) -> Option<String> {
    let at =
        ours.iter().zip(theirs).position(|(a, b)| a != b).unwrap_or_else(|| ours.len().min(theirs.len()));
    if at == ours.len() && at == theirs.len() || cut_off && at == theirs.len() {
        return None;
    }
    let shown = |bytes: &[u8]| {
        let from = at.saturating_sub(CONTEXT);
        let to = (at + CONTEXT).min(bytes.len());
        let hex: Vec<String> =
            bytes.get(at..to.min(at + 8)).unwrap_or_default().iter().map(|b| format!("{b:02x}")).collect();
        let before = visible(bytes.get(from..at.min(bytes.len())).unwrap_or_default());
        let after = visible(bytes.get(at..to).unwrap_or_default());
        let end = if at >= bytes.len() { " (here it ends)" } else { "" };
        format!("{before}⟦{after}⟧{end}  {}", hex.join(" "))
    };
    let line = ours.iter().take(at).filter(|b| **b == b'\n').count() + 1;
    Some(format!("byte {at} (line {line}):\n    ours   {}\n    theirs {}", shown(ours), shown(theirs)))
}
