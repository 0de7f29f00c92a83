//! By which name an answer is priced: the one rule for the request's end and for looking back.

/// The names that a request and its answer give to the model; empty where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NamesOfAnswer<'a> {
    /// What the answer names.
    pub answered: &'a str,
    /// What was sent upstream, after aliases.
    pub sent: &'a str,
    /// What the caller asked for.
    pub asked: &'a str,
}

impl<'a> NamesOfAnswer<'a> {
    /// The names in the order in which their price is looked for. A name that `has_own_price`, sent or asked
    /// for, is the only one; else the answer's comes first: it says what really worked.
    pub fn in_order(self, has_own_price: impl Fn(&str) -> bool) -> impl Iterator<Item = &'a str> {
        let own = [self.sent, self.asked].into_iter().find(|name| has_own_price(name));
        let order = own.map_or([self.answered, self.sent, self.asked], |own| [own, "", ""]);
        order.into_iter().filter(|name| !name.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answers_name_comes_first_unless_the_config_has_a_price() {
        let names = NamesOfAnswer { answered: "m-2026", sent: "m", asked: "alias" };
        let order = |own: &str| names.in_order(|name| name == own).collect::<Vec<_>>();
        assert_eq!(order("none"), ["m-2026", "m", "alias"]);
        assert_eq!(order("alias"), ["alias"]);
        assert_eq!(
            order("m-2026"),
            ["m-2026", "m", "alias"],
            "what an answer names is not the config's word"
        );
        let nameless = NamesOfAnswer { answered: "", ..names };
        assert_eq!(nameless.in_order(|_| false).collect::<Vec<_>>(), ["m", "alias"]);
    }
}
