//! The figures as a picture for the README: one bar a workload, and a line where both linkers are equally fast.

use std::fmt::Write;

use folio::draw::page::GROUND;
use folio::draw::{escape, grouped};

use super::report::Report;

const WIDTH: f64 = 880.0;
/// Where bars begin, and the column of figures behind them.
const LEFT: f64 = 180.0;
const RIGHT: f64 = 270.0;
const TOP: f64 = 104.0;
const STEP: f64 = 26.0;
const BAR: f64 = 16.0;

const STYLE: &str = "\
text{font:13px system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif;fill:var(--ink)}
.title{font-size:20px;font-weight:650}.soft{fill:var(--soft);font-size:12px}.value{font-weight:600}.name{text-anchor:end}
.back{fill:var(--card)}.even{stroke:var(--ink);stroke-width:1}.grid{stroke:var(--edge);stroke-width:1}
.faster{fill:#3d7d6e}.slower{fill:#b8683b}.axis{text-anchor:middle}
@media (prefers-color-scheme: dark){.faster{fill:#5fae9b}.slower{fill:#d98b5c}}
";

/// The chart as a file of its own.
pub fn svg(report: &Report) -> String {
    let machine = &report.machine;
    let bottom = TOP + STEP * report.rows.len() as f64;
    let height = bottom + 74.0;
    // The axis ends at the first half above the longest bar.
    let longest = report.rows.iter().map(|row| row.full.neutral).fold(1.5, f64::max);
    let end = (longest * 2.0).ceil() / 2.0;
    let x = |ratio: f64| LEFT + (WIDTH - LEFT - RIGHT) * ratio.clamp(0.0, end) / end;
    let mut body = String::new();
    let mut grid = 0.0;
    while grid <= end {
        let class = if grid == 1.0 { "even" } else { "grid" };
        let at = x(grid);
        let _infallible = write!(
            body,
            "<line class=\"{class}\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{}\" y2=\"{bottom}\"/>\n\
             <text class=\"soft axis\" x=\"{at:.1}\" y=\"{}\">{grid}</text>\n",
            TOP - 8.0,
            bottom + 16.0
        );
        grid += 0.5;
    }
    for (index, row) in report.rows.iter().enumerate() {
        let top = TOP + STEP * index as f64;
        let (full, text) = (&row.full, top + 13.0);
        let class = if full.neutral < 1.0 { "slower" } else { "faster" };
        let micro = |time: f64| grouped(time.round() as u64);
        let column = WIDTH - RIGHT + 24.0;
        let _infallible = write!(
            body,
            "<text class=\"name\" x=\"{}\" y=\"{text}\">{}</text>\n\
             <rect class=\"{class}\" x=\"{LEFT}\" y=\"{top}\" width=\"{:.1}\" height=\"{BAR}\" rx=\"2\"/>\n\
             <text class=\"value\" x=\"{column}\" y=\"{text}\">{:.2}</text>\n\
             <text class=\"soft\" x=\"{}\" y=\"{text}\">{} to {} µs, raw {:.2}</text>\n",
            LEFT - 10.0,
            escape(row.workload),
            x(full.neutral) - LEFT,
            full.neutral,
            column + 42.0,
            micro(full.glibc.median),
            micro(full.folio.median),
            full.ratio,
        );
    }
    let notes = [
        format!(
            "Bars do not count CPUID instructions ({} under glibc's linker, {} under Folio, {:.2} µs each here); raw figures do.",
            report.cpuid.glibc, report.cpuid.folio, report.cpuid.microseconds
        ),
        format!(
            "{}, {}, kernel {}, {}. Medians of {} runs; A/A {:.3}.",
            machine.date, machine.processor, machine.kernel, machine.system, report.rounds, report.control
        ),
    ];
    for (index, note) in notes.iter().enumerate() {
        let y = bottom + 42.0 + 18.0 * index as f64;
        let _infallible = writeln!(body, "<text class=\"soft\" x=\"24\" y=\"{y}\">{}</text>", escape(note));
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\">\n\
         <title>Start of programs: glibc's time to Folio's</title>\n<style><![CDATA[\n{GROUND}{STYLE}]]></style>\n\
         <rect class=\"back\" width=\"{WIDTH}\" height=\"{height}\" rx=\"8\"/>\n\
         <text class=\"title\" x=\"24\" y=\"40\">How long programs take to start and end</text>\n\
         <text class=\"soft\" x=\"24\" y=\"62\">The time under glibc's dynamic linker divided by the time under Folio: right of 1, \
         Folio is faster.</text>\n{body}</svg>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::sample;
    use super::*;

    #[test]
    fn bars_end_where_the_axis_says() {
        let picture = svg(&sample(1.2, 1.0));
        assert!(picture.contains("a &lt;closure&gt;") && !picture.contains("a <closure>"), "{picture}");
        // 430 units are 0 to 1.5.
        assert!(picture.contains("class=\"faster\" x=\"180\" y=\"104\" width=\"344.0\""), "{picture}");
        assert!(picture.contains("class=\"even\" x1=\"466.7\""), "{picture}");
        assert!(svg(&sample(0.9, 1.0)).contains("class=\"slower\""));
        assert!(svg(&sample(3.7, 1.0)).contains("width=\"397.8\""), "the axis grows with the longest bar");
    }
}
