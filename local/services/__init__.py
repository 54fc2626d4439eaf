"""AWS's services, a folder each; moto answers those that are not ours."""
