// Overlap with the reference answer: ROUGE-L (Lin 2004), the F-measure of the longest common
// subsequence of words. It scores and never fails a case by itself: the gate judges the mean.
const { l } = require('js-rouge');

const words = (text) => text.toLowerCase().replace(/[^a-z0-9]+/g, ' ').trim();

module.exports = (output, { vars }) => {
  const [answer, reference] = [words(output), words(vars.reference)];
  const score = answer && reference ? l(answer, reference, { beta: 1 }) : 0;
  return { pass: true, score, reason: `ROUGE-L ${score.toFixed(3)} against: ${vars.reference}` };
};
