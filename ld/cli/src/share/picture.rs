//! The survey as a picture: one cell a page, each file a block, the processes side by side in it.
//!
//! The same drawing stands alone as SVG and in a page for a browser. It is drawn without a script; a script in it says what
//! lies under the pointer.

mod block;
mod data;
mod page;
mod svg;
mod tones;

pub use page::html;
pub use svg::svg;

use super::survey::Survey;

/// More processes than this are drawn over each other, in one column.
const SIDE_BY_SIDE: usize = 8;

/// What stands side by side in each block.
struct Column {
    label: String,
    /// Processes, by their place in the survey.
    members: Vec<usize>,
}

fn columns(survey: &Survey) -> Vec<Column> {
    let count = survey.processes.len();
    if count > SIDE_BY_SIDE {
        return vec![Column { label: format!("{count} processes"), members: (0..count).collect() }];
    }
    let column =
        |(member, process): (usize, &super::Process)| Column { label: process.pid.to_string(), members: vec![member] };
    survey.processes.iter().enumerate().map(column).collect()
}
