// How the search of the pages ranks what it finds: with the weights of Sphinx, and where two pages
// match alike, first the one that helps out of trouble, and last the one that only lists messages.
const FIRST = { troubleshooting: 2, quickstart: 1, messages: -1 };

var Scorer = {
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
  score: ([name, , , , score]) => score + (FIRST[name] || 0),
};
