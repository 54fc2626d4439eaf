"""`millrace`: what `pulumi` does not do."""
