//! Doors for the fuzz targets: every reader of what a client sends.

/// Reads bytes as every kind of request that a client may send.
pub fn request(bytes: &[u8]) {
    let cut = bytes.iter().position(|c| *c == b'\n').unwrap_or(bytes.len());
    let (query, body) = bytes.split_at(cut);
    for kind in ["", "application/x-www-form-urlencoded", "multipart/form-data; boundary=X", "text/xml"] {
        let _refused = crate::alipay::read_form(query, body, kind).is_ok();
    }
    crate::unionpay::read_form(body);
    if let Ok(text) = std::str::from_utf8(bytes) {
        crate::wechat::read_claim(text);
    }
}
