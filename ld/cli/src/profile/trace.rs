//! The start as a trace in Chrome's *Trace Event Format*, which Perfetto and chrome://tracing open: complete events (`X`), in
//! microseconds from the request on.

use serde_json::{Value, json};

use super::record::{Record, Sums};
use crate::draw::base_name;

pub fn events(record: &Record, title: &str) -> Value {
    let event = |name: &str, category: Value, begin: f64, duration: f64, details: Value| json!({"name": name, "cat": category, "ph": "X", "ts": begin, "dur": duration, "pid": 1, "tid": 1, "args": details});
    let name = |what: &str, name: &str| json!({"name": what, "ph": "M", "pid": 1, "tid": 1, "args": {"name": name}});
    let mut events = vec![name("process_name", title), name("thread_name", "start")];
    events.push(event("fork, exec, relocation of the linker", json!("kernel"), 0.0, record.before, json!({})));
    for span in &record.spans {
        let object = span.object.as_deref();
        let whole = matches!(span.kind.word(), "object" | "initializers");
        let title = object.filter(|_| whole).map_or(span.kind.label(), base_name);
        let mut details = json!({"object": object});
        if span.kind.word() == "object"
            && let Some(sums) = record.sums.iter().find(|sums| Some(sums.object.as_str()) == object)
        {
            details["lookups"] = lookups(sums);
        }
        let (begin, duration) = (record.before + span.begin, span.end - span.begin);
        events.push(event(title, json!(span.kind.phase()), begin, duration, details));
    }
    json!({"displayTimeUnit": "ns", "traceEvents": events})
}

fn lookups(sums: &Sums) -> Value {
    json!({
        "lookups": sums.lookups, "microseconds": sums.lookup_time, "repeated": sums.repeated,
        "resolvers": sums.resolvers, "microseconds in resolvers": sums.resolver_time,
    })
}
