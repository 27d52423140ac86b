"""What users may give: arguments and JSON values checked, and text made safe to print."""
