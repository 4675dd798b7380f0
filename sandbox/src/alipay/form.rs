//! Parameters as SDKs send them: in the query, in a form, or in both; percent-encoded in utf-8 or gbk.

use std::collections::BTreeMap;

use actix_web::HttpRequest;
use encoding_rs::{Encoding, GBK, UTF_8};

use super::refusal::Refusal;

/// Parameters by name, decoded.
pub(crate) type Params = BTreeMap<String, String>;

/// The content type, with its parameters.
pub(crate) fn content_type(req: &HttpRequest) -> String {
    req.headers().get("content-type").and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned()
}

/// Query and form together. A name that comes twice must have one value.
pub(crate) fn read(query: &[u8], body: &[u8], content_type: &str) -> Result<Params, Refusal> {
    let mut pairs = split(query);
    let (kind, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
    match kind.trim().to_ascii_lowercase().as_str() {
        "" | "application/x-www-form-urlencoded" => pairs.extend(split(body)),
        "multipart/form-data" => {
            let boundary = parameters.split(';').find_map(|p| p.trim().strip_prefix("boundary="));
            pairs.extend(parts(body, boundary.unwrap_or_default().trim_matches('"')));
        }
        other => {
            let problem = format!("不支持的Content-Type：{other}，请使用application/x-www-form-urlencoded");
            return Err(Refusal::invalid("isv.invalid-parameter", &problem).unsigned());
        }
    }
    let charset = pairs.iter().find(|(name, _)| name == b"charset").map(|(_, v)| v.to_ascii_lowercase());
    let encoding = encoding(charset.as_deref().unwrap_or(b"utf-8")).unwrap_or(UTF_8);
    let mut params = Params::new();
    for (name, value) in pairs {
        let (name, value) = (decode(encoding, &name)?, decode(encoding, &value)?);
        if let Some(first) = params.get(&name)
            && *first != value
        {
            let problem = format!("参数{name}重复且取值不同");
            return Err(Refusal::invalid("isv.invalid-parameter", &problem).unsigned());
        }
        params.insert(name, value);
    }
    Ok(params)
}

/// The encoding that a charset names, if the gateway speaks it.
pub(crate) fn encoding(charset: &[u8]) -> Option<&'static Encoding> {
    match charset.to_ascii_lowercase().as_slice() {
        b"utf-8" | b"utf8" => Some(UTF_8),
        b"gbk" | b"gb2312" => Some(GBK),
        _ => None,
    }
}

fn decode(encoding: &'static Encoding, bytes: &[u8]) -> Result<String, Refusal> {
    let text = encoding.decode_without_bom_handling_and_without_replacement(bytes);
    let problem = || Refusal::invalid("isv.invalid-charset", "参数与charset不符").unsigned();
    text.map(std::borrow::Cow::into_owned).ok_or_else(problem)
}

fn split(bytes: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let pair = |piece: &[u8]| {
        let cut = piece.iter().position(|c| *c == b'=').unwrap_or(piece.len());
        let (name, value) = piece.split_at(cut);
        (unescape(name), unescape(value.get(1..).unwrap_or_default()))
    };
    bytes.split(|c| *c == b'&').filter(|piece| !piece.is_empty()).map(pair).collect()
}

/// The fields of a multipart body; a file among them has a name too and is a value like any other.
fn parts(body: &[u8], boundary: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mark = format!("--{boundary}");
    let mut found = Vec::new();
    let mut rest = body;
    while let Some(at) = find(rest, mark.as_bytes()) {
        let part = rest.get(at + mark.len()..).unwrap_or_default();
        let Some(end) = find(part, mark.as_bytes()) else { break };
        let inside = part.get(..end).unwrap_or_default();
        if let Some(cut) = find(inside, b"\r\n\r\n") {
            let head = String::from_utf8_lossy(inside.get(..cut).unwrap_or_default()).into_owned();
            let value = inside.get(cut + 4..).unwrap_or_default();
            let value = value.strip_suffix(b"\r\n").unwrap_or(value);
            if let Some((_, name)) = head.split_once("name=\"") {
                let name = name.split('"').next().unwrap_or_default();
                found.push((name.as_bytes().to_vec(), value.to_vec()));
            }
        }
        rest = part.get(end..).unwrap_or_default();
    }
    found
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len().max(1)).position(|window| window == wanted)
}

/// Undoes percent-encoding; what is not a valid escape stands for itself.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        let escaped = match rest {
            [b'%', high, low, ..] => hex_digit(*high).zip(hex_digit(*low)).map(|(h, l)| h * 16 + l),
            _ => None,
        };
        match escaped {
            Some(byte) => {
                plain.push(byte);
                rest = rest.get(3..).unwrap_or_default();
            }
            None => {
                plain.push(if *first == b'+' { b' ' } else { *first });
                rest = tail;
            }
        }
    }
    plain
}

fn hex_digit(c: u8) -> Option<u8> {
    char::from(c).to_digit(16).and_then(|d| u8::try_from(d).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(query: &str, body: &[u8]) -> Result<Params, Refusal> {
        read(query.as_bytes(), body, "application/x-www-form-urlencoded; charset=utf-8")
    }

    #[test]
    fn query_and_form_are_one_and_a_name_has_one_value() {
        let params = form("a=1&b=%2B+%zz", b"c=&a=1").unwrap();
        assert_eq!(
            params.into_iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>(),
            ["a=1", "b=+ %zz", "c="]
        );
        assert!(form("a=1", b"a=2").is_err());
    }

    #[test]
    fn a_multipart_body_is_read_as_a_form_is() {
        let body = b"--X\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1&2\r\n--X\r\ncontent-disposition: form-data; name=\"b\"\r\n\r\n\r\n--X--\r\n";
        let params = read(b"c=3", body, "multipart/form-data; boundary=X").unwrap();
        let pairs: Vec<String> = params.into_iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(pairs, ["a=1&2", "b=", "c=3"]);
        for broken in [&b""[..], b"--X", b"--X\r\nname=\"a\"", b"--X\r\n\r\n"] {
            assert_eq!(read(b"", broken, "multipart/form-data; boundary=X").unwrap().len(), 0);
        }
        assert_eq!(read(b"", b"--\r\n", "multipart/form-data").unwrap().len(), 0, "no boundary");
    }

    #[test]
    fn the_charset_decides_how_bytes_are_read() {
        let gbk = form("charset=gbk", b"subject=%C5%A3%C8%E2%C3%E6").unwrap();
        assert_eq!(gbk["subject"], "牛肉面");
        assert!(form("charset=utf-8", b"subject=%C5%A3%C8").is_err(), "not utf-8");
    }
}
