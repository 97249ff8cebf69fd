//! The answer to a request of HTTP/2 or HTTP/3 that is not to be forwarded; its connection goes on.

use super::Client;
use crate::codec::Answer;
use crate::head::Version;
use crate::http1::Reject;
use crate::http1::encode::Local;

/// Answers one that is bad, and counts it as such.
pub(crate) async fn turn_down(
    client: &Client<'_>,
    answer: &mut impl Answer,
    version: Version,
    reject: Reject,
) {
    client.count_bad_request();
    put_off(client, answer, version, reject).await;
}

/// Answers one that there is nothing wrong with.
pub(crate) async fn put_off(client: &Client<'_>, answer: &mut impl Answer, version: Version, reject: Reject) {
    let Reject { status, reason } = reject;
    tracing::debug!(listener = client.state.name, status, fault = reason, "request refused");
    answer.local(&Local {
        status,
        fields: &[],
        body: &format!("{reason}\n"),
        version,
        close: false,
        head_request: false,
        overdue: false,
        date: &client.worker.date(client.timer.now()),
    });
    // A client that is not there to be told has been served as well as can be.
    let _ = answer.flush().await;
}
