//! Why there is no connection, whether another is worth a try, and when.

use std::time::Duration;

use serde_json::Value;
use tungstenite::http::{Response, StatusCode, header};
use tungstenite::protocol::frame::CloseFrame;

use super::event::Event;
use super::exit::Failure;
use super::lines::escape;

/// The longest that anybody waits between two tries.
const LONGEST: Duration = Duration::from_secs(30);
/// What the wait begins with.
const FIRST: Duration = Duration::from_millis(250);

/// A connection that did not come about, or is no more.
#[derive(Debug)]
pub(super) struct Lost {
    /// In words.
    pub(super) why: Failure,
    /// How long to wait at least before another try; `None` where none would help.
    pub(super) again: Option<Duration>,
}

impl Lost {
    /// Another try may succeed.
    pub(super) fn for_now(why: Failure) -> Self {
        let again = Some(Duration::ZERO);
        Self { why, again }
    }

    /// Another try would end as this one.
    pub(super) fn for_good(why: Failure) -> Self {
        Self { why, again: None }
    }

    /// An HTTP answer other than 101; told by its problem's sentence, where it has one.
    pub(super) fn refused(authority: &str, answer: &Response<Option<Vec<u8>>>) -> Self {
        let detail = answer.body().as_deref().and_then(|body| {
            let problem: Value = serde_json::from_slice(body).ok()?;
            let detail = problem.get("detail").or_else(|| problem.get("title"))?;
            Some(escape(detail.as_str()?).into_owned())
        });
        let detail = detail.map(|detail| format!(": {detail}"));
        let status = answer.status();
        let passes = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
        let after = answer.headers().get(header::RETRY_AFTER);
        let after = after.and_then(|value| value.to_str().ok()?.parse().ok());
        Self {
            why: Failure::failed(format!(
                "{authority} refuses the connection with {status}{}",
                detail.unwrap_or_default()
            )),
            again: passes.then(|| Duration::from_secs(after.unwrap_or(0))),
        }
    }

    /// An `error` frame; some of what it may say passes.
    pub(super) fn complained(why: Failure, error: &Event) -> Self {
        let passes = matches!(error.code(), "rate_limited" | "unavailable" | "internal");
        let after = Duration::from_millis(error.retry_after_ms.unwrap_or(0));
        Self {
            why,
            again: passes.then_some(after),
        }
    }

    /// A close frame, and the `closing` frame that came before it.
    pub(super) fn closed(
        authority: &str,
        frame: Option<&CloseFrame>,
        closing: Option<&Event>,
    ) -> Self {
        let told = frame.map_or_else(|| "it gave no reason".to_owned(), told);
        let code = frame.map_or(1006, |frame| u16::from(frame.code));
        let reconnect = closing.map_or_else(|| may_reconnect(code), |closing| closing.reconnect);
        let after = closing.and_then(|closing| closing.after_ms).unwrap_or(0);
        Self {
            why: Failure::failed(format!("{authority} closed the connection: {told}")),
            again: reconnect.then(|| Duration::from_millis(after)),
        }
    }

    /// How long to wait before the next try, the `attempt`th without success; never less than the
    /// broker asked for, and at a time of its own, lest all clients come back at once.
    pub(super) fn wait(&self, attempt: u32) -> Option<Duration> {
        let least = self.again?;
        let most = FIRST.saturating_mul(1 << attempt.min(16)).min(LONGEST);
        let share = getrandom::u32().unwrap_or(0);
        let wait = most / 2 + (most / 2).mul_f64(f64::from(share) / f64::from(u32::MAX));
        Some(least.max(wait))
    }
}

/// What the close codes say of coming back, where no `closing` frame said it.
fn may_reconnect(code: u16) -> bool {
    matches!(code, 1001 | 1005 | 1006 | 1011..=1014 | 4000..=4499)
}

fn told(frame: &CloseFrame) -> String {
    let code = u16::from(frame.code);
    if frame.reason.is_empty() {
        return code.to_string();
    }
    format!("{code} {}", escape(&frame.reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(code: u16, closing: Option<&str>) -> Option<Duration> {
        let frame = CloseFrame {
            code: code.into(),
            reason: "".into(),
        };
        let closing = closing.map(|text| serde_json::from_str(text).unwrap());
        Lost::closed("h:1", Some(&frame), closing.as_ref()).again
    }

    #[test]
    fn the_code_says_whether_to_come_back_and_the_closing_frame_knows_better() {
        for code in [1001, 1006, 1011, 1013, 4000, 4001, 4008, 4100, 4499] {
            assert_eq!(closed(code, None), Some(Duration::ZERO), "{code}");
        }
        for code in [1000, 1002, 1003, 1007, 1008, 1009, 4500, 4503, 4999] {
            assert_eq!(closed(code, None), None, "{code}");
        }
        let later = r#"{"type":"closing","code":1001,"reconnect":true,"after_ms":1500}"#;
        assert_eq!(closed(1001, Some(later)), Some(Duration::from_millis(1500)));
        let never = r#"{"type":"closing","code":4000,"reconnect":false}"#;
        assert_eq!(closed(4000, Some(never)), None);
    }

    #[test]
    fn a_refusal_that_passes_is_worth_another_try() {
        for (status, after, again) in [
            (503, Some("3"), Some(3)),
            (503, None, Some(0)),
            (429, Some("7"), Some(7)),
            (502, Some("soon"), Some(0)),
            (401, None, None),
            (403, Some("3"), None),
            (404, None, None),
        ] {
            let mut answer = Response::builder().status(status);
            if let Some(after) = after {
                answer = answer.header("retry-after", after);
            }
            let lost = Lost::refused("h:1", &answer.body(None).unwrap());
            assert_eq!(lost.again, again.map(Duration::from_secs), "{status}");
        }
    }

    #[test]
    fn the_wait_grows_has_jitter_and_an_end_and_is_never_less_than_was_asked_for() {
        let lost = Lost::for_now(Failure::failed("x"));
        for (attempt, most) in [
            (0, 250),
            (1, 500),
            (3, 2000),
            (7, 30_000),
            (4_000_000, 30_000),
        ] {
            let most = Duration::from_millis(most);
            let waits: Vec<Duration> = (0..50).map(|_| lost.wait(attempt).unwrap()).collect();
            assert!(waits.iter().all(|wait| *wait >= most / 2 && *wait <= most));
            assert!(waits.iter().any(|wait| *wait != waits[0]), "{attempt}");
        }
        let again = Some(Duration::from_secs(60));
        let asked = Lost { again, ..lost };
        assert_eq!(asked.wait(0), again);
        assert_eq!(Lost::for_good(Failure::failed("x")).wait(0), None);
    }
}
