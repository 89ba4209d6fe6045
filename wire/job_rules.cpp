// FindSpecProblem: the rules of single fields, from their descriptors, then those between fields.
#include <algorithm>

#include "wire/command_rules.h"
#include "wire/data_reference.h"
#include "wire/field_rules.h"
#include "wire/job_file.h"
#include "wire/plugin_rules.h"
#include "wire/policy_rules.h"
#include "wire/printable.h"
#include "wire/tabular_rules.h"

namespace muster::wire {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

std::string ElementProblem(const Message& message, const FieldDescriptor& field, int index) {
  const Reflection& reflection = *message.GetReflection();
  const bool list = field.is_repeated();
  const auto integer = [&](WideInteger value) { return IntegerProblem(field, value); };
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return integer(list ? reflection.GetRepeatedInt32(message, &field, index)
                          : reflection.GetInt32(message, &field));
    case FieldDescriptor::CPPTYPE_INT64:
      return integer(list ? reflection.GetRepeatedInt64(message, &field, index)
                          : reflection.GetInt64(message, &field));
    case FieldDescriptor::CPPTYPE_UINT32:
      return integer(list ? reflection.GetRepeatedUInt32(message, &field, index)
                          : reflection.GetUInt32(message, &field));
    case FieldDescriptor::CPPTYPE_UINT64:
      return integer(list ? reflection.GetRepeatedUInt64(message, &field, index)
                          : reflection.GetUInt64(message, &field));
    case FieldDescriptor::CPPTYPE_FLOAT:
      return NumberProblem(field, list ? reflection.GetRepeatedFloat(message, &field, index)
                                       : reflection.GetFloat(message, &field));
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return NumberProblem(field, list ? reflection.GetRepeatedDouble(message, &field, index)
                                       : reflection.GetDouble(message, &field));
    case FieldDescriptor::CPPTYPE_STRING:
      return TextProblem(field, list ? reflection.GetRepeatedString(message, &field, index)
                                     : reflection.GetString(message, &field));
    case FieldDescriptor::CPPTYPE_ENUM: {
      const int number = list ? reflection.GetRepeatedEnumValue(message, &field, index)
                              : reflection.GetEnumValue(message, &field);
      const bool known = number != 0 && field.enum_type()->FindValueByNumber(number) != nullptr;
      return known ? ""
                   : "must be " + TypeText(field) + ", but is number " + std::to_string(number);
    }
    default:
      return "";
  }
}

SpecProblem FieldProblem(const Message& message, const std::string& prefix);

// Of texts to texts: the rule of the field is that of keys and values.
SpecProblem MapProblem(const Message& message, const FieldDescriptor& field,
                       const std::string& path) {
  const Reflection& reflection = *message.GetReflection();
  for (int i = 0; i < reflection.FieldSize(message, &field); ++i) {
    const Message& entry = reflection.GetRepeatedMessage(message, &field, i);
    const auto& type = *entry.GetDescriptor();
    const std::string key = entry.GetReflection()->GetString(entry, type.map_key());
    const std::string value = entry.GetReflection()->GetString(entry, type.map_value());
    for (const std::string& text : {key, value}) {
      if (std::string problem = TextProblem(field, text); !problem.empty()) {
        return {path + "." + Printable(key), problem};
      }
    }
  }
  return {};
}

SpecProblem ListProblem(const Message& message, const FieldDescriptor& field,
                        const std::string& path) {
  constexpr int kElementsMax = 1024;
  const int elements = message.GetReflection()->FieldSize(message, &field);
  if (elements > kElementsMax) {
    return {path, "has " + std::to_string(elements) + " elements; the most is " +
                      std::to_string(kElementsMax)};
  }
  if (field.is_map()) return MapProblem(message, field, path);
  for (int i = 0; i < elements; ++i) {
    const std::string name = path + "[" + std::to_string(i) + "]";
    if (field.message_type() != nullptr) {
      SpecProblem inner =
          FieldProblem(message.GetReflection()->GetRepeatedMessage(message, &field, i), name + ".");
      if (!inner.message.empty()) return inner;
    } else if (std::string problem = ElementProblem(message, field, i); !problem.empty()) {
      return {name, problem};
    }
  }
  return {};
}

// The first field below `message` that breaks its own rule.
SpecProblem FieldProblem(const Message& message, const std::string& prefix) {
  const Reflection& reflection = *message.GetReflection();
  if (const auto& unknown = reflection.GetUnknownFields(message); !unknown.empty()) {
    return {prefix.empty() ? "job" : prefix.substr(0, prefix.size() - 1),
            "has a field that is not known here (number " +
                std::to_string(unknown.field(0).number()) + "): the client is of another version"};
  }
  const auto& type = *message.GetDescriptor();
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    const std::string path = prefix + field.name();
    if (field.is_repeated()) {
      if (SpecProblem inner = ListProblem(message, field, path); !inner.message.empty()) {
        return inner;
      }
      continue;
    }
    if (!reflection.HasField(message, &field)) {
      if (RuleOf(field).required()) return {path, "is missing"};
      continue;
    }
    if (field.message_type() != nullptr) {
      SpecProblem inner = FieldProblem(reflection.GetMessage(message, &field), path + ".");
      if (!inner.message.empty()) return inner;
    } else if (std::string problem = ElementProblem(message, field, 0); !problem.empty()) {
      return {path, problem};
    } else if (RuleOf(field).data_path() &&
               IsDataReference(reflection.GetString(message, &field))) {
      const auto reference = ParseDataReference(reflection.GetString(message, &field));
      if (!reference.ok()) return {path, reference.status().message()};
    } else if (RuleOf(field).path() && !reflection.GetString(message, &field).starts_with('/')) {
      return {path, "must be an absolute file name here, but is " +
                        Quoted(reflection.GetString(message, &field))};
    }
  }
  return {};
}

std::string NameProblem(const std::string& name) {
  constexpr std::size_t kBytesMax = 100;
  const auto letter_or_digit = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  };
  const bool good = !name.empty() && name.size() <= kBytesMax && letter_or_digit(name[0]) &&
                    std::all_of(name.begin(), name.end(), [&](char c) {
                      return letter_or_digit(c) || c == '-' || c == '_' || c == '.';
                    });
  if (good) return "";
  return "must be 1 to 100 letters, digits, '-', '_' and '.', the first a letter or digit, but "
         "is " +
         Quoted(name);
}

SpecProblem ResourcesProblem(const v1::JobSpec& spec, bool lanes_given) {
  const std::uint32_t ranks = spec.resources().ranks();
  const std::string ranks_text = std::to_string(ranks);
  if (spec.resources().gpus_per_rank() > 0) {
    return {"resources.gpus_per_rank", "must be 0: this version trains on CPUs only"};
  }
  if (spec.resources().rollout_workers() > 0 && !CollectsRollouts(spec)) {
    return {"resources.rollout_workers",
            "must be 0 without [ppo] or [vpg]: there are no rollouts to collect"};
  }
  if (spec.has_command()) return {};  // It has no lanes.
  if ((ranks & (ranks - 1)) != 0) {
    std::uint32_t above = 1;
    while (above < ranks) above *= 2;
    return {"resources.ranks", "must be a power of two, but is " + ranks_text +
                                   "; the nearest are " + std::to_string(above / 2) + " and " +
                                   std::to_string(above)};
  }
  if (ranks > 1 && !lanes_given) {
    return {"lanes", "is missing: it is required when resources.ranks (here " + ranks_text +
                         ") is above 1, because results depend on it"};
  }
  if (ranks > spec.lanes()) {
    return {"resources.ranks",
            "must be at most lanes (" + std::to_string(spec.lanes()) + "), but is " + ranks_text};
  }
  return {};
}

SpecProblem DataProblem(const v1::SupervisedData& data) {
  const std::string prefix = "supervised.data.";
  const bool idx = data.has_train_images() || data.has_train_labels() || data.has_test_images() ||
                   data.has_test_labels();
  const bool csv = data.has_train_csv() || data.has_test_csv();
  if (idx && csv) {
    return {prefix + (data.has_train_csv() ? "train_csv" : "test_csv"),
            "stands beside IDX files; give images and labels, or CSV files"};
  }
  if (!idx && !csv) {
    return {"supervised.data",
            "names no training samples; give train_images and train_labels, "
            "or train_csv"};
  }
  if (csv) {
    if (!data.has_train_csv()) return {prefix + "train_csv", "is missing beside test_csv"};
    return {};
  }
  if (!data.has_train_images()) return {prefix + "train_images", "is missing"};
  if (!data.has_train_labels()) return {prefix + "train_labels", "is missing beside train_images"};
  if (data.has_test_images() && !data.has_test_labels()) {
    return {prefix + "test_labels", "is missing beside test_images"};
  }
  if (data.has_test_labels() && !data.has_test_images()) {
    return {prefix + "test_images", "is missing beside test_labels"};
  }
  return {};
}

SpecProblem ModelProblem(const v1::SupervisedRecipe& recipe) {
  const v1::SupervisedModel& model = recipe.model();
  if (model.model_case() == v1::SupervisedModel::MODEL_NOT_SET) {
    return {"supervised.model",
            "is missing; give [supervised.model.mlp], [supervised.model.cnn] or "
            "[supervised.model.resnet]"};
  }
  if (model.has_resnet() && recipe.data().has_train_csv()) {
    return {"supervised.model.resnet", "needs images, but the data are CSV; use mlp"};
  }
  if (!model.has_cnn()) return {};
  if (model.cnn().channels().empty()) {
    return {"supervised.model.cnn.channels",
            "is missing; give the output channels of each "
            "convolution, as in [16, 32]"};
  }
  if (model.cnn().kernel_size() % 2 == 0) {
    return {"supervised.model.cnn.kernel_size",
            "must be odd, but is " + std::to_string(model.cnn().kernel_size())};
  }
  if (recipe.data().has_train_csv()) {
    return {"supervised.model.cnn", "needs images, but the data are CSV; use mlp"};
  }
  return {};
}

SpecProblem OptimizerProblem(const v1::Optimizer& optimizer) {
  // At 1 the moment never moves and its bias correction divides by zero.
  if (optimizer.beta1() >= 1) return {"supervised.optimizer.beta1", "must be below 1"};
  if (optimizer.beta2() >= 1) return {"supervised.optimizer.beta2", "must be below 1"};
  if (optimizer.momentum() >= 1) return {"supervised.optimizer.momentum", "must be below 1"};
  if (optimizer.alpha() >= 1) return {"supervised.optimizer.alpha", "must be below 1"};
  return {};
}

SpecProblem AugmentProblem(const v1::SupervisedRecipe& recipe) {
  const v1::Augment& augment = recipe.augment();
  if ((augment.shift_max() == 0 && !augment.flip()) || !recipe.data().has_train_csv()) return {};
  return {"supervised.augment", "needs images, but the data are CSV"};
}

SpecProblem EarlyStopProblem(const v1::SupervisedRecipe& recipe) {
  const std::string patience = "supervised.early_stop.patience";
  if (recipe.early_stop().patience() == 0) {
    if (recipe.early_stop().min_delta() == 0) return {};
    return {patience, "is missing beside min_delta"};
  }
  if (recipe.data().validation_samples() == 0) {
    return {patience, "needs validation data; give supervised.data.validation_samples"};
  }
  if (recipe.evaluate_every_steps() == 0) {
    return {patience, "needs evaluations during training; give supervised.evaluate_every_steps"};
  }
  return {};
}

SpecProblem SupervisedProblem(const v1::JobSpec& spec) {
  const v1::SupervisedRecipe& recipe = spec.supervised();
  if (SpecProblem data = DataProblem(recipe.data()); !data.message.empty()) return data;
  if (SpecProblem model = ModelProblem(recipe); !model.message.empty()) return model;
  if (SpecProblem augment = AugmentProblem(recipe); !augment.message.empty()) return augment;
  if (SpecProblem stop = EarlyStopProblem(recipe); !stop.message.empty()) return stop;
  if (recipe.has_epochs() && recipe.has_steps()) {
    return {"supervised.steps", "stands beside epochs; give one of them"};
  }
  if (!recipe.has_epochs() && !recipe.has_steps()) {
    return {"supervised.epochs", "is missing; give epochs or steps"};
  }
  if (recipe.batch_size() % spec.lanes() != 0) {
    return {"supervised.batch_size", "must be a multiple of lanes (" +
                                         std::to_string(spec.lanes()) + "), but is " +
                                         std::to_string(recipe.batch_size())};
  }
  return OptimizerProblem(recipe.optimizer());
}

}  // namespace

SpecProblem FindSpecProblem(const v1::JobSpec& given) {
  if (SpecProblem problem = FieldProblem(given, ""); !problem.message.empty()) return problem;
  if (std::string problem = NameProblem(given.name()); !problem.empty()) return {"name", problem};
  v1::JobSpec spec = given;  // Small: every list and text has been found to be short.
  FillDefaults(spec);
  if (SpecProblem problem = ResourcesProblem(spec, given.has_lanes()); !problem.message.empty()) {
    return problem;
  }
  if (SpecProblem problem = TimeLimitProblem(spec.time_limit()); !problem.message.empty()) {
    return problem;
  }
  if (SpecProblem problem = PluginProblem(spec); !problem.message.empty()) return problem;
  switch (spec.recipe_case()) {
    case v1::JobSpec::kCommand:
      return CommandProblem(spec.command());
    case v1::JobSpec::kSupervised:
      return SupervisedProblem(spec);
    case v1::JobSpec::kPpo:
      return PpoProblem(spec);
    case v1::JobSpec::kVpg:
      return VpgProblem(spec);
    case v1::JobSpec::kCollective:
      if (spec.collective().bytes() % sizeof(float) == 0) return {};
      return {"collective.bytes",
              "must be a multiple of 4 (f32), but is " + std::to_string(spec.collective().bytes())};
    case v1::JobSpec::kTabular:
      return TabularProblem(spec);
    default:
      return {"recipe",
              "is missing; give [supervised], [ppo], [vpg], [tabular], [collective] or [command]"};
  }
}

}  // namespace muster::wire
