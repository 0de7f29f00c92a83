//! For tests: JSON as some client or server may write it, with names that mean something here and there.

use super::answers::Dice;

/// An object with these names, nested so deep at most.
pub(super) fn any_object(dice: &mut Dice, names: &[&'static str], levels: usize) -> String {
    let members: Vec<String> = (0..dice.below(7))
        .map(|_| {
            let name = dice.pick(names);
            let name = if dice.one_in(40) { name.replacen('o', "\\u006f", 1) } else { name.into() };
            format!("\"{name}\":{}", any_value(dice, names, levels))
        })
        .collect();
    format!("{{{}}}", members.join(","))
}

fn any_value(dice: &mut Dice, names: &[&'static str], levels: usize) -> String {
    let space = dice.pick(&["", "", " ", "\n\t"]);
    let value = match dice.below(if levels == 0 { 3 } else { 6 }) {
        0 => dice.pick(&WORDS).into(),
        1 => format!("\"{}\"", dice.pick(names)),
        2 => format!("\"{}\"", dice.pick(&TEXTS)),
        3 => {
            let items: Vec<_> = (0..dice.below(4)).map(|_| any_value(dice, names, levels - 1)).collect();
            format!("[{}]", items.join(","))
        }
        _ => any_object(dice, names, levels - 1),
    };
    format!("{space}{value}{space}")
}

const WORDS: [&str; 12] = [
    "1",
    "-7",
    "0",
    "0.5",
    "1e3",
    "2000000000",
    "12345678901234567890",
    "-0",
    "true",
    "false",
    "null",
    "1e999",
];

const TEXTS: [&str; 16] = [
    "",
    "gpt-4o",
    "hello",
    "a\\nb",
    "\\u00e9\\ud83d\\ude00",
    "\\ud800",
    "data:image/png;base64,AA",
    "data:image\\/png",
    "https://a/b",
    "JVBERi0",
    "item_reference",
    "bash_2025",
    "web_search",
    "\u{e9}\u{1f600}",
    "\\q",
    "a longer text that goes on and on, over more than one block, so that it is looked at in all the ways there are",
];
