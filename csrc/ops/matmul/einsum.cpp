// einsum, lowered to views, sums and batched products.
#include <algorithm>
#include <string>
#include <vector>

#include "ops/copy/copy.h"
#include "ops/elementwise/elementwise.h"
#include "ops/matmul/matmul.h"
#include "ops/reduce/reduce.h"
#include "ops/view/view.h"

namespace tercel {

namespace {

// Labels are small integers: letters 0..51 (a-z, A-Z), then the dims of the ellipsis from the back.
constexpr int kLetters = 52;
constexpr int kLabels = kLetters + kMaxDims;

int letter_label(char c) {
  if (c >= 'a' && c <= 'z') return c - 'a';
  if (c >= 'A' && c <= 'Z') return c - 'A' + 26;
  return -1;
}

struct Term {
  std::vector<int> before, after;  // labels around the ellipsis
  bool ellipsis = false;
};

Term parse_term(const std::string& text, const std::string& equation) {
  Term term;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '.') {
      TERCEL_CHECK(text.compare(i, 3, "...") == 0 && !term.ellipsis, Value,
                   "einsum: expected at most one '...' per operand in \"", equation, "\"");
      term.ellipsis = true;
      i += 2;
      continue;
    }
    const int label = letter_label(text[i]);
    TERCEL_CHECK(label >= 0, Value, "einsum: expected letters, ',', '...' and '->' in \"", equation,
                 "\", got '", text[i], "'");
    (term.ellipsis ? term.after : term.before).push_back(label);
  }
  return term;
}

// A tensor whose dims carry distinct labels.
struct Labelled {
  Tensor t;
  std::vector<int> labels;

  int find(int label) const {
    const auto it = std::find(labels.begin(), labels.end(), label);
    return it == labels.end() ? -1 : static_cast<int>(it - labels.begin());
  }
};

// Takes the diagonal over repeated labels.
Labelled take_diagonals(Labelled x) {
  for (size_t i = 0; i < x.labels.size(); ++i) {
    for (size_t j = i + 1; j < x.labels.size();) {
      if (x.labels[i] != x.labels[j]) {
        ++j;
        continue;
      }
      TERCEL_CHECK(x.t.size(static_cast<int64_t>(i)) == x.t.size(static_cast<int64_t>(j)), Shape,
                   "einsum: a repeated label must have equal sizes, got ",
                   x.t.size(static_cast<int64_t>(i)), " and ", x.t.size(static_cast<int64_t>(j)));
      // diagonal() appends the common dim; move it back to i.
      x.t = diagonal(x.t, 0, static_cast<int64_t>(i), static_cast<int64_t>(j));
      x.t = movedim(x.t, {-1}, {static_cast<int64_t>(i)});
      x.labels.erase(x.labels.begin() + static_cast<std::ptrdiff_t>(j));
    }
  }
  return x;
}

// Sums the labels that `keep` does not hold.
Labelled sum_labels(Labelled x, const std::vector<bool>& keep) {
  Dims dims;
  std::vector<int> left;
  for (size_t i = 0; i < x.labels.size(); ++i) {
    if (keep[static_cast<size_t>(x.labels[i])]) {
      left.push_back(x.labels[i]);
    } else {
      dims.push_back(static_cast<int64_t>(i));
    }
  }
  if (dims.size() > 0) x.t = sum(x.t, dims, false, x.t.dtype());
  x.labels = left;
  return x;
}

Tensor permuted(const Labelled& x, const std::vector<int>& order) {
  Dims dims;
  bool identity = true;
  for (size_t i = 0; i < order.size(); ++i) {
    dims.push_back(x.find(order[i]));
    identity = identity && dims.back() == static_cast<int64_t>(i);
  }
  return identity ? x.t : permute(x.t, dims);
}

int64_t product_of(const Labelled& x, const std::vector<int>& labels) {
  int64_t n = 1;
  for (int label : labels) n *= x.t.size(x.find(label));
  return n;
}

std::vector<int> joined(std::initializer_list<const std::vector<int>*> lists) {
  std::vector<int> all;
  for (const auto* list : lists) all.insert(all.end(), list->begin(), list->end());
  return all;
}

// Contracts two operands, keeping the labels of `keep`. A dim of size 1 broadcasts against the
// other's.
Labelled contract(Labelled a, Labelled b, const std::vector<bool>& keep) {
  // Labels of one operand only that are not wanted are summed first; size-1 dims shared with a
  // larger one drop out.
  std::vector<bool> keep_a = keep, keep_b = keep;
  for (int label : a.labels) {
    const int j = b.find(label);
    if (j < 0) continue;
    const int64_t sa = a.t.size(a.find(label)), sb = b.t.size(j);
    const auto l = static_cast<size_t>(label);
    keep_a[l] = !(sa == 1 && sb != 1);
    keep_b[l] = !(sb == 1 && sa != 1);
  }
  a = sum_labels(a, keep_a);
  b = sum_labels(b, keep_b);
  std::vector<int> batch, rows, cols, inner;
  for (int label : a.labels) {
    const bool shared = b.find(label) >= 0;
    (shared ? (keep[static_cast<size_t>(label)] ? batch : inner) : rows).push_back(label);
  }
  for (int label : b.labels) {
    if (a.find(label) < 0) cols.push_back(label);
  }
  Labelled y;
  y.labels = joined({&batch, &rows, &cols});
  Shape shape;
  for (int label : y.labels)
    shape.push_back(a.find(label) >= 0 ? a.t.size(a.find(label)) : b.t.size(b.find(label)));
  if (inner.empty() && (rows.empty() || cols.empty())) {
    // No product to form: an elementwise one.
    Shape sa, sb;
    for (int label : y.labels) {
      sa.push_back(a.find(label) >= 0 ? a.t.size(a.find(label)) : 1);
      sb.push_back(b.find(label) >= 0 ? b.t.size(b.find(label)) : 1);
    }
    y.t = mul(reshape(permuted(a, joined({&batch, &rows})), sa),
              reshape(permuted(b, joined({&batch, &cols})), sb));
    return y;
  }
  const int64_t B = product_of(a, batch), M = product_of(a, rows), K = product_of(a, inner),
                N = product_of(b, cols);
  const Tensor left = permuted(a, joined({&batch, &rows, &inner}));
  const Tensor right = permuted(b, joined({&batch, &inner, &cols}));
  if (batch.empty()) {
    y.t = reshape(matmul(reshape(left, {M, K}), reshape(right, {K, N})), shape);
  } else {
    y.t = reshape(matmul(reshape(left, {B, M, K}), reshape(right, {B, K, N})), shape);
  }
  return y;
}

}  // namespace

Tensor einsum(const std::string& equation, const TensorList& operands) {
  TERCEL_CHECK(!operands.empty(), Value, "einsum: expected at least one operand");
  std::string text;
  for (char c : equation) {
    if (c != ' ' && c != '\t' && c != '\n') text += c;
  }
  const size_t arrow = text.find("->");
  const std::string left = text.substr(0, arrow);
  std::vector<Term> terms;
  for (size_t at = 0;;) {
    const size_t comma = left.find(',', at);
    terms.push_back(parse_term(left.substr(at, comma - at), equation));
    if (comma == std::string::npos) break;
    at = comma + 1;
  }
  TERCEL_CHECK(terms.size() == operands.size(), Value, "einsum: \"", equation, "\" has ",
               terms.size(), " operands, got ", operands.size(), " tensors");

  // Labels of every dim; ellipsis dims are numbered from the back so that they broadcast.
  std::vector<Labelled> xs;
  int ellipsis_dims = 0;
  bool any_ellipsis = false;
  int64_t size_of[kLabels];
  std::fill(size_of, size_of + kLabels, int64_t{-1});
  int count[kLabels] = {};
  for (size_t i = 0; i < terms.size(); ++i) {
    const Term& term = terms[i];
    const int named = static_cast<int>(term.before.size() + term.after.size());
    const int rank = operands[i].dim();
    TERCEL_CHECK(term.ellipsis ? named <= rank : named == rank, Shape, "einsum: operand ", i,
                 " of \"", equation, "\" has ", named, " labels but shape ", operands[i].shape());
    Labelled x{operands[i], term.before};
    const int dots = rank - named;
    any_ellipsis = any_ellipsis || term.ellipsis;
    ellipsis_dims = std::max(ellipsis_dims, dots);
    for (int d = 0; d < dots; ++d) x.labels.push_back(kLetters + dots - 1 - d);
    x.labels.insert(x.labels.end(), term.after.begin(), term.after.end());
    x = take_diagonals(x);
    for (size_t d = 0; d < x.labels.size(); ++d) {
      int64_t& known = size_of[x.labels[d]];
      const int64_t size = x.t.size(static_cast<int64_t>(d));
      TERCEL_CHECK(known < 0 || known == size || known == 1 || size == 1, Shape, "einsum: operand ",
                   i, " of \"", equation, "\" has size ", size, " for a label that has size ",
                   known, " before");
      known = known == 1 || known < 0 ? size : known;
    }
    for (int label : term.before) ++count[label];
    for (int label : term.after) ++count[label];
    xs.push_back(x);
  }

  std::vector<int> result;
  const auto push_ellipsis = [&] {
    for (int d = ellipsis_dims - 1; d >= 0; --d) result.push_back(kLetters + d);
  };
  if (arrow == std::string::npos) {
    // Implicit output: ellipsis, then labels that appear once, in alphabetical order (A-Z before
    // a-z).
    push_ellipsis();
    for (int upper = 1; upper >= 0; --upper) {
      for (int l = 0; l < 26; ++l) {
        if (count[upper * 26 + l] == 1) result.push_back(upper * 26 + l);
      }
    }
  } else {
    const Term term = parse_term(text.substr(arrow + 2), equation);
    result = term.before;
    if (term.ellipsis) push_ellipsis();
    result.insert(result.end(), term.after.begin(), term.after.end());
    std::vector<bool> seen(kLabels, false);
    for (int label : result) {
      const auto l = static_cast<size_t>(label);
      TERCEL_CHECK(size_of[label] >= 0 || label >= kLetters, Value, "einsum: an output label of \"",
                   equation, "\" is in no operand");
      TERCEL_CHECK(!seen[l], Value, "einsum: an output label of \"", equation, "\" appears twice");
      seen[l] = true;
    }
  }
  std::vector<bool> in_result(kLabels, false);
  for (int label : result) in_result[static_cast<size_t>(label)] = true;

  // Left to right: after each step only the labels that are still needed stay.
  const auto needed_after = [&](size_t i) {
    std::vector<bool> keep = in_result;
    for (size_t j = i + 1; j < xs.size(); ++j) {
      for (int label : xs[j].labels) keep[static_cast<size_t>(label)] = true;
    }
    return keep;
  };
  Labelled y = sum_labels(xs[0], needed_after(0));
  for (size_t i = 1; i < xs.size(); ++i) y = contract(y, xs[i], needed_after(i));
  Labelled full = sum_labels(y, in_result);
  // A broadcast label that only size-1 operands carried is there with size 1.
  return permuted(full, result);
}

}  // namespace tercel
