// Results as CSV or JSON, written as they come.
#pragma once

#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "pipeline.h"

namespace deploy {

class Writer {
  public:
    virtual ~Writer() = default;
    virtual void write(const Result& result) = 0;
    virtual void finish() {}
};

/// `csv`: columns path, class, confidence, p_<class>..., error; `json`: a list of objects, one a line. reject_below: see `class_of`.
std::unique_ptr<Writer> make_writer(const std::string& format, std::ostream& out, const std::vector<std::string>& classes,
                                    float reject_below);

/// `text` as one CSV field (RFC 4180).
std::string csv_field(const std::string& text);

}  // namespace deploy
