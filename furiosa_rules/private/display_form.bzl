"""Labels in messages."""

def display_form(label):
    """A label as the user writes it.

    Args:
      label: Label

    Returns:
      a string, `//package:name` in the main repository
    """
    if hasattr(label, "to_display_form"):  # not in Bazel 7
        return label.to_display_form()
    text = str(label)
    return text.removeprefix("@@") if text.startswith("@@//") else text
