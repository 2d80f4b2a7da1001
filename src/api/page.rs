//! The page with the demo, embedded in the binary.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse};

use sha2::{Digest, Sha256};

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// The page loads nothing from elsewhere, talks to nothing but this broker and is framed by nobody.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

macro_rules! files {
    ($($path:literal, $kind:expr, $file:literal;)+) => {
        &[$(($path, $kind, include_bytes!(concat!("../../demo/", $file))),)+]
    };
}

const FILES: &[(&str, &str, &[u8])] = files! {
    "/", HTML, "index.html";
    "/demo/chat.css", STYLE, "chat.css";
    "/demo/chat.js", SCRIPT, "chat.js";
    "/demo/connection.js", SCRIPT, "connection.js";
    "/demo/dom.js", SCRIPT, "dom.js";
    "/demo/frames.js", SCRIPT, "frames.js";
    "/demo/main.js", SCRIPT, "main.js";
    "/demo/policy.js", SCRIPT, "policy.js";
    "/demo/room.js", SCRIPT, "room.js";
    "/demo/view.js", SCRIPT, "view.js";
};

/// The files of the page.
#[derive(Clone, Debug, Default)]
pub struct Page {
    files: Vec<File>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    path: &'static str,
    kind: &'static str,
    data: &'static [u8],
    etag: String,
}

impl Page {
    /// The page as it was built in.
    pub fn embedded() -> Self {
        let files = FILES.iter().map(|&(path, kind, data)| File {
            path,
            kind,
            data,
            etag: etag(data),
        });
        Self {
            files: files.collect(),
        }
    }

    /// The file at that path.
    pub fn find(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }
}

impl File {
    /// The file, or that the browser has it already.
    pub(super) fn response(&self, request: &HttpRequest) -> HttpResponse {
        let mut response = if self.is_known(request) {
            HttpResponse::NotModified()
        } else {
            HttpResponse::Ok()
        };
        response
            .insert_header((header::ETAG, self.etag.as_str()))
            .insert_header((header::CACHE_CONTROL, "no-cache"))
            .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
            .insert_header((header::REFERRER_POLICY, "no-referrer"))
            .insert_header(("Cross-Origin-Opener-Policy", "same-origin"));
        if self.is_known(request) {
            return response.finish();
        }
        response.content_type(self.kind).body(self.data)
    }

    fn is_known(&self, request: &HttpRequest) -> bool {
        let known = request.headers().get_all(header::IF_NONE_MATCH);
        known
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == self.etag)
    }
}

/// Names the contents.
fn etag(data: &[u8]) -> String {
    let hash = Sha256::digest(data);
    let digits = hash.iter().take(12).map(|byte| format!("{byte:02x}"));
    format!("\"{}\"", digits.collect::<String>())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_file_of_the_demo_is_embedded() {
        let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo");
        let page = Page::embedded();
        for entry in std::fs::read_dir(demo).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let path = match name.as_str() {
                "index.html" => "/".to_owned(),
                _ => format!("/demo/{name}"),
            };
            assert!(page.find(&path).is_some(), "{path}");
        }
    }
}
