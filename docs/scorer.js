// How the search of the pages ranks what it finds: with the weights of Sphinx, and where two pages
// match alike, first those that help out of trouble, and last those that explain or only list.
const FIRST = {
  troubleshooting: 3, how_do_i: 2, quickstart: 1,
  architecture: -1, commands: -1, comparison: -1, reference: -1, messages: -2,
};

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
