//! The files of `server.public`: what a browser gets in place of the demo.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use actix_files::{NamedFile, PathBufWrap};
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};

use super::Problem;

/// What stands for a directory.
const INDEX: &str = "index.html";

/// What a path below the directory is.
enum Found {
    File(Box<NamedFile>),
    /// A directory with an index: its path has to end in a slash, or relative links go astray.
    Directory,
}

/// Answers with the file at the request's path.
///
/// # Errors
/// 404 for whatever is no file, hidden or outside the directory: it is not told which.
pub(super) async fn get(request: &HttpRequest, public: &Path) -> Result<HttpResponse, Problem> {
    let nothing = || Problem::not_found("there is nothing at this path");
    let path = request.path();
    let below = PathBufWrap::parse_path(path, false).map_err(|_| nothing())?;
    let (root, below, slash) = (public.to_owned(), below, path.ends_with('/'));
    // A disk may be slow, and a worker waits for nothing.
    let found = web::block(move || find(&root, below.as_ref(), slash)).await;
    match found {
        Ok(Ok(Found::File(file))) => {
            let file = file.disable_content_disposition();
            let mut response = file.into_response(request);
            // Asked for again each time, but sent again only if it changed.
            response.headers_mut().insert(
                header::CACHE_CONTROL,
                header::HeaderValue::from_static("no-cache"),
            );
            Ok(response)
        }
        Ok(Ok(Found::Directory)) => Ok(HttpResponse::MovedPermanently()
            .insert_header((header::LOCATION, with_slash(request)))
            .finish()),
        Ok(Err(error)) => {
            if error.kind() == io::ErrorKind::PermissionDenied {
                tracing::warn!(%error, "a file of server.public cannot be read");
            }
            Err(nothing())
        }
        Err(_) => Err(Problem::internal()),
    }
}

fn find(root: &Path, below: &Path, slash: bool) -> io::Result<Found> {
    // The root may itself be a link that a deployment moves.
    let root = root.canonicalize()?;
    let inside = |path: PathBuf| {
        let path = path.canonicalize()?;
        if path.starts_with(&root) {
            Ok(path)
        } else {
            Err(io::Error::from(io::ErrorKind::NotFound))
        }
    };
    let mut path = inside(root.join(below))?;
    if path.is_dir() {
        path = inside(path.join(INDEX))?;
        if !slash {
            return Ok(Found::Directory);
        }
    } else if slash {
        return Err(io::ErrorKind::NotFound.into());
    }
    // Looked at before it is opened: opening a named pipe would wait for its writer.
    if !path.metadata()?.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let file = NamedFile::from_file(File::open(&path)?, &path)?;
    Ok(Found::File(Box::new(file)))
}

/// The same path with a slash, relative, so that it leads nowhere else whatever it looks like.
fn with_slash(request: &HttpRequest) -> String {
    let last = request.path().rsplit('/').next().unwrap_or_default();
    let query = request.query_string();
    if query.is_empty() {
        format!("./{last}/")
    } else {
        format!("./{last}/?{query}")
    }
}
