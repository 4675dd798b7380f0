//! What a code means for the caller (protocol sections 6 and 6.1). A new code is unknown, never final.

use domain::channel::Fault;

/// What may be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Done, or accepted.
    Good,
    /// No such transaction (yet).
    NotThere,
    /// A number that was used before: ask what became of it.
    Duplicate,
    /// Final, by whose fault.
    Refused(Fault),
    /// The gateway itself does not know: ask.
    Unknown,
}

pub(super) fn meaning(code: &str) -> Meaning {
    match code {
        // A6 is a success with a defect, 42 one after the last moment: both took money.
        "00" | "A6" | "42" => Meaning::Good,
        "34" => Meaning::NotThere,
        "12" => Meaning::Duplicate,
        "02" | "37" | "98" => Meaning::Refused(Fault::Channel),
        "10" | "11" | "13" | "14" | "31" | "32" | "33" | "36" | "39" | "40" | "41" => {
            Meaning::Refused(Fault::Ours)
        }
        "35" | "45" => Meaning::Refused(Fault::State),
        "01" | "30" | "38" | "60" | "61" | "62" | "63" | "64" | "65" | "66" | "67" | "68" | "71" | "72"
        | "73" | "76" | "77" | "78" | "79" | "80" => Meaning::Refused(Fault::Payer),
        // 03, 04, 05: being worked on; 69, 70, 74, 75, 99: debited or not, only a query or the file tells.
        _ => Meaning::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_tables_refusals_are_final_and_what_may_have_taken_money_never_is() {
        for code in ["03", "04", "05", "69", "70", "74", "75", "99", "", "ZZ"] {
            assert_eq!(meaning(code), Meaning::Unknown, "{code}");
        }
        for code in ["00", "A6", "42"] {
            assert_eq!(meaning(code), Meaning::Good, "{code}");
        }
        assert_eq!(meaning("64"), Meaning::Refused(Fault::Payer));
        assert_eq!(meaning("37"), Meaning::Refused(Fault::Channel));
    }
}
