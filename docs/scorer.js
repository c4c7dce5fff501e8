// How the search of the pages ranks what it finds: with the weights of Sphinx, and where two pages
// match alike, first those that help out of trouble, and last those that explain or only list. A
// page whose own title has a word of the query comes before those that have it in a heading.
const FIRST = {
  troubleshooting: 3, how_do_i: 2, quickstart: 1,
  api: -1, architecture: -1, celery: -1, coming_from: -1, commands: -1, reference: -1, stability: -1,
  comparison: -2, messages: -2,
};
const QUERY = (new URLSearchParams(location.search).get("q") || "").toLowerCase().split(/\W+/);

const inTitle = (title, anchor) =>
  !anchor && title.toLowerCase().split(/\W+/)
    .some((word) => word.length > 3 && word !== "django" && QUERY.includes(word));

var Scorer = {
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
  score: ([name, title, anchor, , score]) =>
    score + (FIRST[name] || 0) + (inTitle(title, anchor) ? 4 : 0),
};
