"""What AWS CodeBuild runs for each commit, a build file a step: check, images, deploy. And the commands that
they call, which run anywhere: `python -m delivery.images` is how images are built on a laptop too.

`infra/` declares the pipeline that starts them, and gives each the environment that its file names.
"""
