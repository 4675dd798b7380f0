//! A request given in parts, or as the raw dump of a failed call (as `curl -v` or a proxy writes it).

/// A request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Request {
    pub method: String,
    /// Path and query as on the request line.
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The answer's body, if the dump has one.
    pub answer: Option<Vec<u8>>,
}

impl Request {
    /// A header's value, whatever the case of its name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// Takes a full address or a target.
    pub(crate) fn set_url(&mut self, url: &str) {
        let rest =
            url.split_once("://").map_or(url, |(_, rest)| rest.find('/').map_or("/", |at| &rest[at..]));
        self.target = rest.split('#').next().unwrap_or_default().to_owned();
    }

    /// The query of the target.
    pub(crate) fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// Reads a dump: request line, headers, an empty line, the body; then perhaps the answer, which begins with
    /// `HTTP/`. The `>` and `<` of `curl -v` are taken off, its `*` lines left out.
    ///
    /// # Errors
    /// There is no request line.
    pub(crate) fn from_dump(dump: &str) -> Result<Request, String> {
        let lines: Vec<&str> = dump.lines().filter(|line| !line.starts_with("* ")).collect();
        let curl = lines.iter().any(|line| line.starts_with("> "));
        let plain: Vec<&str> = lines
            .iter()
            .filter(|line| !(curl && (line.starts_with("{ [") || line.starts_with("} ["))))
            .map(|line| {
                let cut =
                    if curl { line.strip_prefix("> ").or_else(|| line.strip_prefix("< ")) } else { None };
                cut.unwrap_or(if curl && matches!(*line, ">" | "<") { "" } else { line })
            })
            .collect();
        let is_line = |line: &&str| {
            let mut words = line.split(' ');
            let method = words.next().unwrap_or_default();
            let target = words.next().unwrap_or_default();
            !method.is_empty()
                && method.bytes().all(|c| c.is_ascii_alphabetic())
                && (target.starts_with('/') || target.contains("://"))
        };
        let start = plain
            .iter()
            .position(is_line)
            .ok_or("no request line such as \"POST /v3/pay HTTP/1.1\" in the dump")?;
        let mut words = plain.get(start).copied().unwrap_or_default().split(' ');
        let mut request =
            Request { method: words.next().unwrap_or_default().to_owned(), ..Request::default() };
        request.set_url(words.next().unwrap_or_default());
        let rest = plain.get(start + 1..).unwrap_or_default();
        let end = rest.iter().position(|line| line.is_empty()).unwrap_or(rest.len());
        for line in rest.get(..end).unwrap_or_default() {
            if let Some((name, value)) = line.split_once(':') {
                request.headers.push((name.trim().to_owned(), value.trim().to_owned()));
            }
        }
        let body = rest.get(end + 1..).unwrap_or_default();
        let answer = body.iter().position(|line| line.starts_with("HTTP/")).unwrap_or(body.len());
        request.body = joined(body.get(..answer).unwrap_or_default());
        let after = body.get(answer..).unwrap_or_default();
        let said =
            after.iter().position(|line| line.is_empty()).map(|at| after.get(at + 1..).unwrap_or_default());
        request.answer = said.map(joined).filter(|bytes| !bytes.is_empty());
        Ok(request)
    }
}

fn joined(lines: &[&str]) -> Vec<u8> {
    lines.join("\n").trim_end_matches('\n').as_bytes().to_vec()
}
