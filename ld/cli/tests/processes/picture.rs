//! Maps as SVG and HTML: every page that is resident is drawn once, in the colour of its state, and nothing is fetched.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use crate::pagemap::{Waiting, pids};
use crate::workshop::{Workshop, folio, json, said};

/// Cells by colour: each subpath is a line, dashed so that each dash is a cell.
fn cells(svg: &str) -> BTreeMap<String, u64> {
    let attribute = |tag: &str, name: &str| -> Option<String> {
        let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
        Some(rest.split_once('"')?.0.to_owned())
    };
    let mut cells = BTreeMap::new();
    for tag in svg.split("<path").skip(1) {
        let tag = tag.split_once('>').unwrap().0;
        let dash: u64 = attribute(tag, "stroke-width").unwrap().parse().unwrap();
        let lengths = attribute(tag, "d").unwrap();
        let count = |run: &str| (run.split_once('h').unwrap().1.parse::<u64>().unwrap() + 1) / (dash + 1);
        *cells.entry(attribute(tag, "data-tone").unwrap()).or_default() +=
            lengths.split('M').skip(1).map(count).sum::<u64>();
    }
    cells
}

/// Every element is closed, in its order, outside of style and script.
fn assert_well_formed(markup: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = markup;
    while let Some((_, after)) = rest.split_once('<') {
        rest = after;
        if let Some(after) = rest.strip_prefix("![CDATA[") {
            rest = after.split_once("]]>").expect("a CDATA section ends").1;
            continue;
        }
        let (tag, after) = rest.split_once('>').expect("a tag ends");
        rest = after;
        assert!(!tag.contains('<'), "{tag}");
        let name = tag.split([' ', '\n']).next().unwrap();
        if let Some(name) = name.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "…{}", &tag[..tag.len().min(40)]);
        } else if !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert_eq!(open, [""; 0]);
}

#[test]
fn every_page_is_a_cell() {
    let shop = Workshop::new("map");
    let cats = [Waiting::cat(None), Waiting::cat(None)];
    let (map, page) = (shop.text("map.svg"), shop.text("page.html"));
    let survey = json(&folio(["share", "--json", "--map", &map, "--html", &page, &pids(&cats)]), 0);
    let (svg, html) = (fs::read_to_string(map).unwrap(), fs::read_to_string(page).unwrap());

    let drawn = cells(&svg);
    assert_eq!(drawn, cells(&html), "one drawing, alone and in a page");
    let totals = &survey["totals"];
    let shown = |tone: &str| drawn.get(tone).copied().unwrap_or(0);
    let cause = |name: &str| totals["causes"][name].as_u64().unwrap_or(0);
    assert_eq!(shown("a"), totals["in_all"].as_u64().unwrap() * 2);
    let tones = [
        ("c", "alone"),
        ("r", "relocated"),
        ("m", "relocated-and-written"),
        ("w", "written"),
        ("b", "bss"),
        ("h", "memory"),
    ];
    for (tone, name) in tones {
        assert_eq!(shown(tone), cause(name), "{name}");
    }
    let resident: u64 = drawn.iter().filter(|(tone, _)| *tone != "u").map(|(_, count)| count).sum();
    assert_eq!(resident, totals["resident"].as_u64().unwrap());

    assert_well_formed(&svg);
    for text in [&svg, &html] {
        assert!(text.contains("libc.so.6") && text.contains("prefers-color-scheme:dark"));
        for reference in ["src=", "href=", "url(", "@import", "fetch("] {
            assert!(!text.contains(reference), "nothing is fetched: {reference}");
        }
        let addresses = text.matches("http").count() - text.matches("http://www.w3.org/2000/svg").count();
        assert_eq!(addresses, 0);
    }
}

/// Names that look like markup stay names, in pictures as in tables.
#[test]
fn odd_names_do_no_harm() {
    let shop = Workshop::new("odd");
    let program = shop.copy("/bin/cat", "a<b>&\"'];--cat");
    let (map, page) = (shop.text("map.svg"), shop.text("page.html"));
    let program = program.to_str().unwrap();
    let output = folio(["share", "-n", "1", "--map", &map, "--html", &page, program]);
    assert!(said(&output, 0).contains("a<b>&\"'];--cat"));
    let svg = fs::read_to_string(map).unwrap();
    assert_well_formed(&svg);
    let html = fs::read_to_string(page).unwrap();
    assert!(!html.contains("a<b>") && html.contains("a&lt;b&gt;&amp;"));
}

/// More processes than fit beside each other are drawn over each other.
#[test]
fn many_processes_are_one_column() {
    let shop = Workshop::new("many");
    let cats: Vec<Waiting> = (0..12).map(|_| Waiting::cat(None)).collect();
    let map = shop.text("map.svg");
    let survey: Value = json(&folio(["share", "--json", "--map", &map, &pids(&cats)]), 0);
    let svg = fs::read_to_string(map).unwrap();
    assert_well_formed(&svg);
    assert!(svg.contains("12 processes"));
    let drawn = cells(&svg);
    let touched: u64 = survey["objects"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|object| object["segments"].as_array().unwrap())
        .filter(|segment| segment["kind"] != "anonymous")
        .map(|segment| segment["touched"].as_u64().unwrap())
        .sum();
    assert_eq!(drawn.iter().filter(|(tone, _)| *tone != "u").map(|(_, count)| count).sum::<u64>(), touched);
}
