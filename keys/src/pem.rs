//! Reading and writing PEM blocks.
//!
//! Reading is lenient about what tools leave around a block (text before it, CRLF, missing last newline) and
//! strict about the block itself. Writing follows RFC 7468: 64 columns, LF.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::Error;

/// One PEM block.
#[derive(Clone, PartialEq, Eq)]
pub struct Block {
    /// What stands after `BEGIN`.
    pub label: String,
    /// The decoded bytes.
    pub der: Vec<u8>,
}

/// The first PEM block in `text`.
///
/// # Errors
/// - [`Error::NotPem`]: no complete block, or its body is not base64.
pub fn first_block(text: &str) -> Result<Block, Error> {
    let (_, rest) = text.split_once("-----BEGIN ").ok_or(Error::NotPem)?;
    let (label, rest) = rest.split_once("-----").ok_or(Error::NotPem)?;
    let (body, _) = rest.split_once(&format!("-----END {label}-----")).ok_or(Error::NotPem)?;
    let packed: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let der = STANDARD.decode(packed).map_err(|_| Error::NotPem)?;
    Ok(Block { label: label.to_owned(), der })
}

/// All PEM blocks in `text`, in their order; text without one is an empty list.
#[must_use]
pub fn blocks(text: &str) -> Vec<Block> {
    let mut rest = text;
    let mut all = Vec::new();
    while let Some(at) = rest.find("-----BEGIN ") {
        rest = rest.get(at..).unwrap_or_default();
        all.extend(first_block(rest).ok());
        rest = rest.get(1..).unwrap_or_default();
    }
    all
}

/// A PEM block with this label around `der`.
#[must_use]
pub fn write_block(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    for (place, c) in STANDARD.encode(der).chars().enumerate() {
        if place > 0 && place.is_multiple_of(64) {
            text.push('\n');
        }
        text.push(c);
    }
    text.push_str(&format!("\n-----END {label}-----\n"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_reads_back_whatever_surrounds_it() {
        let der: Vec<u8> = (0..=255).collect();
        let text = write_block("PUBLIC KEY", &der);
        assert!(text.lines().all(|line| line.len() <= 64));
        let noisy = format!("Bag Attributes\r\n{}", text.replace('\n', "\r\n"));
        for text in [text.as_str(), noisy.as_str()] {
            let block = first_block(text).unwrap();
            assert_eq!((block.label.as_str(), &block.der), ("PUBLIC KEY", &der));
        }
    }

    #[test]
    fn half_a_block_is_refused() {
        for text in [
            "",
            "hello",
            "-----BEGIN X-----",
            "-----BEGIN X-----\n!!!\n-----END X-----",
            "-----BEGIN X\nAA==",
        ] {
            assert!(matches!(first_block(text), Err(Error::NotPem)), "{text}");
        }
    }
}
